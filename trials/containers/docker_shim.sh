#!/bin/sh
# `docker`, as docs/containers.md calls it, for the project of the trial that runs the block.
case $1 in
  compose) shift; eval "exec $CONTAINER_TRIAL_COMPOSE \"\$@\"" ;;
  *) exec podman "$@" ;;
esac
