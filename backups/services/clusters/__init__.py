"""Clusters: checked, ready or not, protected or not, archived."""
