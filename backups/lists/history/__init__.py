"""Reading the history: filters, keyset pages and totals over millions of runs."""
