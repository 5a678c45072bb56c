"""The client of Cloud Search Service against servers over real sockets; no database."""
