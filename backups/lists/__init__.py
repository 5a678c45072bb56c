"""What lists select: filters, sorting, search and keyset pages of history and clusters."""
