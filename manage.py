#!/usr/bin/env python
"""Django's command line for the CSS Log Backup Dashboard."""

import os
import sys


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    if sys.argv[1:] in (["--version"], ["version"]):  # Django would tell its own
        from dashboard.version import VERSION

        sys.stdout.write(f"{VERSION}\n")
        return
    from django.core.management import execute_from_command_line

    from dashboard.embedded.instance import join
    from dashboard.generated import data_dir

    if sys.argv[1:2] != ["run"]:  # which decides anew
        join(data_dir(), os.environ)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
