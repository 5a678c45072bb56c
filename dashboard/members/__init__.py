"""Granting and withdrawing roles."""
