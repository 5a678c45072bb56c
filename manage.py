#!/usr/bin/env python
"""Django's command line for the CSS Log Backup Dashboard."""

import errno
import os
import sys


def main() -> None:
    """Run a command; a closed pipe, a full disk or Ctrl-C ends it without a traceback."""
    # closed, as by `>&-`: Python has None then
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):  # names in a terminal that is not UTF-8
        stream.reconfigure(errors="replace")
    try:
        try:
            run()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        # else Python would fail to flush it once more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # as in `… | head`
            sys.exit(141)  # dashboard.commands.Exit
        sys.exit(f"Nothing can be written: {error.strerror}.")
    except KeyboardInterrupt:
        sys.stderr.write("\nInterrupted.\n")
        sys.exit(130)


def run() -> None:
    """Run the command of the arguments."""
    # PYTHONSAFEPATH keeps a script's folder out of the path
    if (folder := os.path.dirname(os.path.abspath(__file__))) not in sys.path:  # noqa: PTH100, PTH120
        sys.path.insert(0, folder)
    if sys.argv[1:2] == ["run"]:  # whatever project the shell was used for before
        os.environ["DJANGO_SETTINGS_MODULE"] = "dashboard.settings"
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")
    if sys.argv[1:] in (["--version"], ["version"]):  # Django would tell its own
        from dashboard.version import VERSION

        sys.stdout.write(f"{VERSION}\n")
        return
    from django.core.management import execute_from_command_line

    from dashboard.generated import data_dir, refuse_root
    from dashboard.local_run.instance import join

    refuse_root(data_dir())
    if sys.argv[1:2] != ["run"]:  # which decides anew
        join(data_dir(), os.environ)
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
