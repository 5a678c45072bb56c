"""Build and run the image and docker-compose.yml with podman: `make container-trial`.

The trial needs no image registry: replacements of Docker's official images are built from Debian
packages. docs/containers.md describes what the trial proves and what it does not.
"""
