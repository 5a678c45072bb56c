"""Log backups of Cloud Search Service clusters: clusters, runs, outcomes, pages."""
