"""What a person at the terminal is told when something cannot be started."""

from hermod.domain.errors import StoreError


def complaint(error: Exception) -> str:
    """The error as a sentence: no number of the system's, no name of a class."""
    if isinstance(error, StoreError):
        return error.whole
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
