"""Steps with I/O that views, API, tasks and commands all call. The row is the truth."""
