"""API tokens: issuing, authentication, pages, revocation."""
