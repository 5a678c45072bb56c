"""The chaos run: real processes and real faults, followed by a check of the results.

`python -m chaos` starts the whole product with a private Redis, a private database and the
simulator. It clicks "Back up logs" over HTTP while it kills and stops what it started, and then
compares the product's history with the simulator's ledger. docs/reliability.md describes what
this proves.
"""
