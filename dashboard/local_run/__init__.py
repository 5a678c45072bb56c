"""Run the product on one machine that has nothing but Python installed.

`manage.py run` starts a private Redis, the simulator if no cloud is configured, gunicorn and a
Celery worker, and stops them all however it ends itself. Existing process managers (honcho, circus,
supervisord) run a list of commands. None of them does everything that is needed here: find a free
socket, create the first account, choose between a real and a simulated cloud, and clean up after
being killed with SIGKILL.
"""
