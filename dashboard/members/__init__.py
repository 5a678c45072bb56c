"""Granting and withdrawing roles: the page and the command."""
