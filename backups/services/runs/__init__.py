"""The life of a run: requested, sent, followed, corrected, settled, swept."""
