"""The one clock of all machines."""

from hermod.domain.clock import Clock


class DatabaseClock:
    """The database's wall clock, as far as it is known here. Without it, this machine's."""

    def __init__(self, ours: Clock) -> None:
        self._ours = ours
        self._ahead: int | None = None
        """The database's clock minus our monotonic one, microseconds."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""
        if self._ahead is None:
            return self._ours.now()
        return self._monotonic_us() + self._ahead

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return self._ours.monotonic()

    def heard(self, asked_s: float, at: int) -> None:
        """The database, asked at the monotonic instant `asked_s`, says that it is `at`.

        It said so at some moment between the question and now. What we knew before stays as it is
        where that agrees with it: a slow answer says little, and time should not jump.
        """
        least = at - self._monotonic_us()
        most = at - int(asked_s * 1_000_000)
        known = (least + most) // 2 if self._ahead is None else self._ahead
        self._ahead = min(max(known, least), most)

    def _monotonic_us(self) -> int:
        return int(self._ours.monotonic() * 1_000_000)
