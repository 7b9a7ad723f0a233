"""The errors of the database; apart from it, so that a command that needs no database loads none."""


class DatabaseError(Exception):
    """The database cannot be used; the message is one sentence for whoever runs the service."""


class UnreachableError(DatabaseError):
    """The database is not there, or does not answer; it may be back later."""
