"""Batches: select clusters, store the request, start the runs as the rate allows, follow."""
