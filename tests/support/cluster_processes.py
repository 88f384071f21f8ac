"""The processes of a cluster, found by its folder's name in their command line; and its guard.

As a program it is the guard: it outlives whoever started it, however that ended, and then ends the
cluster and deletes its folder.

    python tests/support/cluster_processes.py FOLDER

Linux only, as it looks into /proc. Only the standard library, so that the guard starts quickly.
"""

import fcntl
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

LOCK: Final = "lock"
"""A file in the folder, locked for as long as anybody looks after the cluster."""

_PROC: Final = Path("/proc")
_PATIENCE_S: Final = 30.0
_STOP_S: Final = 5.0
_GONE: Final = "ZX"
_STOPPED: Final = "Tt" + _GONE


def processes_of(folder: Path) -> list[int]:
    """The pids of a cluster's processes, of initdb's too. The oldest, so the postmaster, first."""
    found = [
        int(path.name) for path in _PROC.glob("[0-9]*") if _belongs(path, folder.name.encode())
    ]
    return sorted(found)


def _belongs(process: Path, name: bytes) -> bool:
    """The postmaster has the folder as an argument, its children are `postgres: <cluster_name>: …`.

    A child that was forked just now has its parent's command line, and so the name as well.
    """
    try:
        line = (process / "cmdline").read_bytes()
    except OSError:  # it has ended
        return False
    program = os.path.basename(line.split(b"\0")[0].split(b":")[0])
    return program in {b"postgres", b"initdb"} and name in line


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """A signal to those that are still there."""
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all(folder: Path) -> None:
    """`kill -9` for every process of a cluster, and none is left."""
    while pids := processes_of(folder):
        send(pids, signal.SIGKILL)
        _wait(lambda pids=pids: all(_state(pid) in _GONE for pid in pids))


def stop_all(folder: Path) -> None:
    """SIGSTOP for every process of a cluster, and none runs."""
    stopped: set[int] = set()
    while pids := [pid for pid in processes_of(folder) if pid not in stopped]:
        send(pids, signal.SIGSTOP)
        _wait(lambda pids=pids: all(_state(pid) in _STOPPED for pid in pids))
        stopped.update(pids)


def continue_all(folder: Path) -> None:
    """SIGCONT for every process of a cluster."""
    send(processes_of(folder), signal.SIGCONT)


def _state(pid: int) -> str:
    """The letter of /proc/…/stat; X for one that is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text("ascii", "replace")
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def _wait(predicate: Callable[[], bool], timeout_s: float = _PATIENCE_S) -> None:
    ends_at = time.monotonic() + timeout_s
    while not predicate():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"the processes of a cluster ignore a signal for {timeout_s:g} s")
        time.sleep(0.005)


def remove(folder: Path) -> None:
    """End a cluster, and delete everything of it."""
    pids = processes_of(folder)
    send(pids, signal.SIGCONT)
    # An immediate stop. Killed, it would leave a segment of shared memory behind.
    send(pids[:1], signal.SIGQUIT)
    with suppress(TimeoutError):
        _wait(lambda: not processes_of(folder), _STOP_S)
    kill_all(folder)
    shutil.rmtree(folder, ignore_errors=True)


def take_lock(folder: Path) -> int:
    """Lock a new folder; the lock lasts until no process has the returned descriptor open.

    The file gets its name once it is locked, so a sweep never finds it free.
    """
    new = folder / "new-lock"
    lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    new.rename(folder / LOCK)
    return lock


def sweep(folders: Iterable[Path]) -> None:
    """Remove the clusters that nobody looks after: their run and their guard were both killed."""
    for folder in folders:
        try:
            lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except OSError:  # being made, being removed, or another user's
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            remove(folder)
        finally:
            os.close(lock)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    remove(Path(sys.argv[1]))
