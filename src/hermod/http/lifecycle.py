"""Whether the process takes new work. Written by service.py, read by handlers."""


class Lifecycle:
    """Starting, accepting, draining."""

    def __init__(self) -> None:
        self.ready = False
        """Everything is started and nothing is being stopped."""
        self.draining = False

    @property
    def accepting(self) -> bool:
        """Whether a new job may be accepted."""
        return not self.draining
