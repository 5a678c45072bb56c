"""Django's SQLite backend, waiting for locks outside SQLite: see base.py."""
