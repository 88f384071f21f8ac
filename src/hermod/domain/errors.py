"""The errors the gateway raises on purpose.

HermodError
├── Refused            the caller's request, with the Failure to show
├── StoreError
│   ├── StoreFull          the disk is full; nothing was written
│   ├── StoreMisconfigured wrong password, no such database, a schema too new: waiting heals nothing
│   └── StoreUnavailable   busy, closed, read-only or away; nothing is known to be written
├── LimitReached       a limit refuses a job; nothing was stored
└── ConfigError        the configuration, with every problem found
"""

from collections.abc import Sequence

from hermod.domain.failure import Failure
from hermod.domain.meter import Refusal


class HermodError(Exception):
    """The root of them all."""


class Refused(HermodError):
    """A request that is answered with an error instead of being accepted."""

    def __init__(
        self,
        failure: Failure,
        retry_after_s: int | None = None,
        *,
        challenge: str | None = None,
    ) -> None:
        """`challenge`: of a 401, what to say in `WWW-Authenticate` (RFC 9110, 11.6.1)."""
        super().__init__(failure.message)
        self.failure = failure
        self.retry_after_s = retry_after_s
        self.challenge = challenge


def bad_request(message: str) -> Refused:
    """A 400 with this message."""
    return Refused(Failure(message, status_code=400))


class StoreError(HermodError):
    """The store could not do what was asked. The message is fit for a client.

    `detail` is for the operator: the address of a database is nobody else's business.
    """

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail

    @property
    def whole(self) -> str:
        """The message with its detail, for logs and terminals."""
        return f"{self}: {self.detail}" if self.detail else str(self)


class StoreFull(StoreError):
    """The disk is full; nothing was written."""


class StoreMisconfigured(StoreError):
    """The store cannot be used as it is set up; the message says what a person has to change."""


class StoreUnavailable(StoreError):
    """The store is busy, closed, read-only or away."""


class LimitReached(HermodError):
    """A limit has no room for a job; nothing was stored."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(f"{refusal.hold.scope}: {refusal.why}")
        self.refusal = refusal


class ConfigError(HermodError):
    """The configuration is wrong; `problems` names every place and its remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
