#!/usr/bin/env python3
"""Wrapper that precedes podman on the PATH, for options that Debian 12's podman 4.3 lacks.

- `--tmpfs PATH:uid=…,gid=…` is Docker's; `--mount type=tmpfs,U=true` also makes the container's
  user the owner of the folder.
- `--requires` fails if the other container has ended, as `migrate` does.
- Without systemd there are no control groups for containers.
"""

import os
import re
import sys

OWNED = re.compile(r"(/[^:]+):uid=\d+,gid=\d+(?:,mode=(\d+))?")
given, taken = iter(sys.argv[1:]), []
for word in given:
    if word.startswith("--requires="):
        continue
    if word == "--tmpfs":
        place = next(given)
        if owned := OWNED.fullmatch(place):
            mode = f",tmpfs-mode={owned[2]}" if owned[2] else ""
            taken += ["--mount", f"type=tmpfs,dst={owned[1]},U=true{mode}"]
        else:
            taken += [word, place]
        continue
    taken.append(word)
if taken[:1] in (["run"], ["create"]):
    taken.insert(1, "--cgroups=disabled")
program = os.environ["CONTAINER_TRIAL_PODMAN"]
os.execv(program, ["podman", *taken])  # noqa: S606
