#!/usr/bin/env python3
"""Stands before podman on the PATH, for options that Debian 12's podman 4.3 lacks.

- `--tmpfs PATH:uid=…,gid=…` is Docker's; `--mount type=tmpfs,U=true` gives the folder to the
  container's user as well.
- `--requires` fails where the other container has ended, as `migrate` does.
- Without systemd nobody makes control groups for containers.
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
