"""N processes behind one port: started, watched and stopped together.

Fork, not exec: the children share the listening sockets, the configuration, which is read once, and
the memory of the code. It is safe because the supervisor has no thread, no event loop and no
connection, and never gets one.

A signal to the process group reaches the children directly, and once more through us. So only we
count signals, and say by a line of our own when to hurry; a child takes any signal for the first.
"""

import asyncio
import logging
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Final

from hermod.domain.clock import Clock

log = logging.getLogger(__name__)

_STOPS: Final = (signal.SIGTERM, signal.SIGINT)
_SIGNALS: Final = (*_STOPS, signal.SIGCHLD)
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 30.0
_LASTING_S: Final = 60.0
"""A child that lived so long is not part of a crash loop."""
_OVERTIME_S: Final = 5.0
"""What a child may take beyond the time of its drain before it is killed."""
_HURRIED_S: Final = 15.0
"""What it may take once it was told to hurry."""


class Order(Enum):
    """What a child hears from its supervisor."""

    DRAIN = b"d"
    HURRY = b"h"
    ORPHANED = b""
    """Nobody said it: the supervisor is gone, however it went."""


class Link:
    """A child's end of its line to the supervisor."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line

    def ready(self, name: str) -> None:
        """Say that this child serves, on a store of this name."""
        with suppress(OSError):  # a supervisor that is gone is heard of by `on_order`
            self._line.send(name.encode())

    def on_order(self, callback: Callable[[Order], None]) -> None:
        """Have `callback(order)` called on the running loop."""
        asyncio.get_running_loop().add_reader(self._line, self._read, callback)

    def _read(self, callback: Callable[[Order], None]) -> None:
        try:
            said = self._line.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            asyncio.get_running_loop().remove_reader(self._line)
            callback(Order.ORPHANED)
        for byte in said:
            callback(Order(bytes((byte,))))


@dataclass(slots=True)
class _Child:
    pid: int
    line: socket.socket
    born_at_s: float
    ready: bool = False


@dataclass(slots=True)
class _Place:
    """One of the N: its child, or when it gets one."""

    child: _Child | None = None
    due_at_s: float | None = None
    """None while nothing is to be started here."""
    deaths: int = 0
    """Of short-lived children in a row."""


class Supervisor:
    """Runs until it is told to stop, or until a child says that it cannot start."""

    def __init__(
        self,
        processes: int,
        run_child: Callable[[Link], int],
        *,
        sockets: Sequence[socket.socket],
        started: Callable[[str], None],
        drain_s: float,
        clock: Clock,
    ) -> None:
        """
        Args:
            processes: how many children there are to be.
            run_child: what a child does, from its birth to its exit code.
            sockets: listen already; closed here as soon as no more children will be born.
            started: called once, with the name of the store, when all children serve.
            drain_s: what a child is given to stop.
        """
        self._run_child = run_child
        self._sockets = sockets
        self._tell_started = started
        self._drain_s = drain_s
        self._clock = clock
        # The first child finds out whether a start is possible at all, and sets up the store.
        self._places = [_Place(due_at_s=clock.monotonic())]
        self._places += [_Place() for _ in range(processes - 1)]
        self._started = False
        self._stopping = False
        self._overtime_at_s: float | None = None
        self._code = 0
        self._selector = selectors.DefaultSelector()
        self._wakes, self._woken = socket.socketpair()

    def run(self) -> int:
        """The exit code: 0, or that of the child that could not start."""
        with self._hearing_signals():
            while not self._stopping or any(place.child for place in self._places):
                self._wait()
                self._bury()
                self._start_due()
                self._kill_late()
        return self._code

    # What comes in

    @contextmanager
    def _hearing_signals(self) -> Generator[None]:
        """Signals become bytes to read: no code of ours runs inside a handler."""
        for end in (self._wakes, self._woken):
            end.setblocking(False)
        self._selector.register(self._wakes, selectors.EVENT_READ)
        before = [signal.signal(number, _note) for number in _SIGNALS]
        signal.set_wakeup_fd(self._woken.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)
            self._selector.close()
            self._wakes.close()
            self._woken.close()

    def _wait(self) -> None:
        ends = [self._overtime_at_s, *(place.due_at_s for place in self._places)]
        at_s = min((end for end in ends if end is not None), default=None)
        patience_s = None if at_s is None else max(at_s - self._clock.monotonic(), 0)
        for key, _ in self._selector.select(patience_s):
            if key.data is None:
                for number in self._wakes.recv(4096):
                    if number in _STOPS:
                        self._stop(Order.HURRY if self._stopping else Order.DRAIN)
            else:
                self._hear(key.data)

    def _hear(self, child: _Child) -> None:
        try:
            said = child.line.recv(4096)
        except OSError:
            said = b""
        if not said:  # it is about to be buried
            self._selector.unregister(child.line)
            return
        child.ready = True
        now_s = self._clock.monotonic()
        for place in self._places:
            if place.child is None and place.due_at_s is None and not self._stopping:
                place.due_at_s = now_s
        if not self._started and all(place.child and place.child.ready for place in self._places):
            self._started = True
            self._tell_started(said.decode())

    # Life and death of children

    def _start_due(self) -> None:
        for place in self._places:
            if place.due_at_s is not None and place.due_at_s <= self._clock.monotonic():
                place.due_at_s = None
                try:
                    place.child = self._fork()
                except OSError as error:
                    log.error("cannot start a process: %s", error.strerror)
                    self._start_later(place)
                    continue
                self._selector.register(place.child.line, selectors.EVENT_READ, place.child)

    def _fork(self) -> _Child:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal that the child got before it has let go of our handlers would be taken for ours.
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._be_a_child(theirs)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        return _Child(pid, ours, self._clock.monotonic())

    def _be_a_child(self, line: socket.socket) -> None:
        """Never returns: the supervisor's stack is not the child's to unwind."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            # As long as anybody has our ends of their lines, its siblings do not hear of our end.
            for place in self._places:
                if place.child is not None:
                    place.child.line.close()
            self._selector.close()
            self._wakes.close()
            self._woken.close()
            code = self._run_child(Link(line))
        except BaseException:  # the boundary of a process
            log.exception("unexpected error")
        finally:
            with suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _bury(self) -> None:
        for place in self._places:
            child = place.child
            if child is None:
                continue
            pid, status = os.waitpid(child.pid, os.WNOHANG)
            if pid == 0:
                continue
            with suppress(KeyError):
                self._selector.unregister(child.line)
            child.line.close()
            place.child = None
            self._has_ended(place, child, os.waitstatus_to_exitcode(status))

    def _has_ended(self, place: _Place, child: _Child, code: int) -> None:
        how = f"code {code}" if code >= 0 else f"signal {-code}"
        if self._stopping:
            if code and -code not in _STOPS:
                log.error("process %d did not end well: %s", child.pid, how)
                self._code = self._code or max(code, 1)
        elif code > 0 and not self._started:
            # It has said why. What keeps the first from starting keeps all from it.
            self._code = code
            self._stop(Order.HURRY)
        else:
            lasted = self._clock.monotonic() - child.born_at_s >= _LASTING_S
            place.deaths = 0 if lasted else place.deaths
            pause_s = self._start_later(place)
            level = logging.ERROR if code else logging.WARNING  # somebody told it to
            log.log(level, "process %d ended: %s; next try in %.1f s", child.pid, how, pause_s)

    def _start_later(self, place: _Place) -> float:
        pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(place.deaths, 20), _LONGEST_PAUSE_S)
        place.deaths += 1
        place.due_at_s = self._clock.monotonic() + pause_s
        return pause_s

    # The end

    def _stop(self, order: Order) -> None:
        if not self._stopping:
            log.info("stopping %d processes", sum(bool(place.child) for place in self._places))
        self._stopping = True
        # What nobody will accept any more has to be refused.
        for listening in self._sockets:
            listening.close()
        for place in self._places:
            place.due_at_s = None
            if place.child is not None:
                with suppress(OSError):
                    place.child.line.send(order.value)
        patience_s = self._drain_s + _OVERTIME_S
        if order is Order.HURRY:
            patience_s = min(patience_s, _HURRIED_S)
        ends_s = self._clock.monotonic() + patience_s
        self._overtime_at_s = min(ends_s, self._overtime_at_s or ends_s)

    def _kill_late(self) -> None:
        if self._overtime_at_s is None or self._clock.monotonic() < self._overtime_at_s:
            return
        self._overtime_at_s = None
        for place in self._places:
            if place.child is not None:
                log.error("process %d does not end: killing it", place.child.pid)
                os.kill(place.child.pid, signal.SIGKILL)


def _note(_number: int, _frame: object) -> None:
    """Its byte has been written already."""
