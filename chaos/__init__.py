"""The chaos run: real processes, real faults, and the truth checked afterwards.

`python -m chaos` starts the whole product with a private Redis, a private database and the
simulator, clicks "Back up logs" over HTTP while it kills and stops what it started, and then holds
the product's history against the simulator's own ledger. docs/reliability.md tells what is proved.
"""
