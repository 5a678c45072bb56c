"""Operations that views, API, tasks and commands share. The database row is the truth."""
