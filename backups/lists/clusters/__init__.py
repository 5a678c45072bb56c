"""The list of clusters: what it can be filtered and sorted by, a page at a time."""
