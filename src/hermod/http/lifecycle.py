"""Whether the process takes new work. Written by service.py, read by handlers."""

from hermod.domain.errors import StoreUnavailable


class Lifecycle:
    """Starting, accepting, draining."""

    def __init__(self) -> None:
        self.ready = False
        """Everything is started and nothing is being stopped."""
        self.draining = False
        self.waiting_for = ""
        """What the start is waiting for, in a sentence; empty when for nothing."""

    @property
    def accepting(self) -> bool:
        """Whether a new job may be accepted."""
        return not self.draining

    def require_store(self) -> None:
        """Raises StoreUnavailable, with the reason, while the start waits for the store."""
        if self.waiting_for:
            raise StoreUnavailable(self.waiting_for)
