"""Image and docker-compose.yml, built and run by podman: `make container-trial`.

It needs no registry of images: what stands in for Docker's official images is made from Debian
packages. docs/containers.md says what the trial proves and what it does not.
"""
