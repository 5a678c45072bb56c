"""The embedded default: everything on one machine, with nothing installed beside Python.

`manage.py run` starts a private Redis, the simulator while no cloud is configured, gunicorn and
a Celery worker, and stops them all, whatever ends it. Process managers (honcho, circus,
supervisord) run a list of commands; none takes a free socket, makes the first account, decides
between a real cloud and a simulated one, and cleans up after its own SIGKILL. Hence code of our
own, and little of it.
"""
