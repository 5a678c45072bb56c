"""Clusters: checks, readiness, protection, archive and labels."""
