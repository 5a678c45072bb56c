"""Lists of runs and clusters: filters, sort orders, text search and pages."""
