"""API tokens: making, checking, showing and revoking them."""
