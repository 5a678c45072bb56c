"""Pure rules: outcomes, matching of jobs, readiness, log settings. No I/O."""
