"""Who uses the dashboard."""

from django.contrib.auth.models import AbstractUser


class User(AbstractUser):
    """A person or a service account; our own class from the start, so that it can grow."""
