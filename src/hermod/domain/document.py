"""What an operator made over the API, as the store keeps it: documents that it does not read."""

from typing import NamedTuple


class Document(NamedTuple):
    """One thing: a virtual key, a team, a provider, …"""

    type: str
    """`virtual_key`, `team`, `customer`, `model_limits`, `provider_limits`, `provider`,
    `session`, `signing_key`, `setting`."""
    id: str
    name: str
    """Unique among those of its type."""
    secret_hash: str | None
    """By which a credential is found, unique among all; None for what nobody shows."""
    body: bytes
    """JSON. Secrets in it are sealed."""
    version: int = 0
    """Counted up by each change; 0 for one that is not stored yet."""


class Put(NamedTuple):
    """Make a document, or replace the version that was read."""

    document: Document
    """`version` is the one to replace; 0 makes a new one."""


class Delete(NamedTuple):
    """Remove the version of a document that was read."""

    type: str
    id: str
    version: int


class Audit(NamedTuple):
    """Who changed what; kept with the change, in its transaction."""

    at: int
    subject: str
    """`admin:<sub>`, or `cli`."""
    action: str
    """`virtual_key.create`, `provider.update`, …"""
    target: str
    """The id of what was changed."""
    detail: str = ""
    """JSON without secrets."""


class Changed(NamedTuple):
    """What came of a change."""

    revision: int
    """Of the whole collection, after it."""


class Conflict(NamedTuple):
    """Nothing was changed: somebody else was faster, or a name or a secret is taken."""

    type: str
    id: str
    what: str
    """`version`, `name`, `secret`, `id`."""
