"""Handles of work that an upstream does on its own time, as they are kept with attempts.

Only the key that ordered it may ask for it, so its id is a part of the handle.
"""

from hermod.domain.provider import KeySettings


def sealed(key: KeySettings | None, handle: str) -> str:
    """What is stored."""
    return f"{key.id if key is not None else ''}\n{handle}"


def opened(stored: str) -> tuple[str | None, str]:
    """The id of the key that ordered the work, and what the upstream calls it."""
    key_id, _, handle = stored.partition("\n")
    return key_id or None, handle
