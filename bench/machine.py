"""What the kernel says about processes and processors. Linux only."""

import os
import platform
import re
import statistics
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple

PROCESSORS: Final = os.cpu_count() or 1
_TICKS: Final = os.sysconf("SC_CLK_TCK")
SUT_CPU: Final = 0
"""Where the system under test runs, alone."""
LOAD_CPU: Final = 1
"""Where the mock upstream and the load generator run."""


class _Process(NamedTuple):
    parent: int
    own_s: float
    """CPU time, user and system."""
    reaped_s: float
    """CPU time of the children that have ended."""


class Usage(NamedTuple):
    """Sums at one instant, in seconds. `/proc/stat` is no use: it counts by sampling at ticks."""

    sut_s: Mapping[str, float]
    """CPU time of each part of the system under test."""
    sut_waited_s: float
    """How long its threads were ready to run and did not: for each other, or for strangers."""
    load_s: float
    """CPU time of the load generator and the mock upstream."""
    foreign_s: float
    """CPU time of all other processes of the machine."""


def pin(pid: int, cpu: int | None) -> None:
    """Keep a process, and what it starts from now on, on one processor; None is any."""
    os.sched_setaffinity(pid, range(PROCESSORS) if cpu is None else {cpu % PROCESSORS})


def usage(sut: Mapping[str, Collection[int]], load_pids: Collection[int]) -> Usage:
    """Who used how much until now. `sut`: by part, the processes that head its trees."""
    running = _processes()
    parts = {
        part: [member for pid in pids for member in _tree(pid, running)]
        for part, pids in sut.items()
    }
    ours = [pid for members in parts.values() for pid in members]
    foreign = set(running) - set(ours) - set(load_pids)
    return Usage(
        sut_s={
            part: sum(running[pid].own_s + running[pid].reaped_s for pid in members)
            for part, members in parts.items()
        },
        sut_waited_s=sum(map(_waited_s, ours)),
        load_s=sum(running[pid].own_s for pid in load_pids if pid in running),
        foreign_s=sum(running[pid].own_s + running[pid].reaped_s for pid in foreign),
    )


def resident_mb(pid: int) -> float:
    """Resident memory of a process tree, in units of 10^6 bytes."""
    total_kb = 0
    for member in _tree(pid, _processes()):
        found = re.search(r"^VmRSS:\s+(\d+) kB", _read(f"/proc/{member}/status"), re.MULTILINE)
        total_kb += int(found[1]) if found else 0
    return total_kb * 1024 / 1e6


def _processes() -> dict[int, _Process]:
    found: dict[int, _Process] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            # After the parenthesised name: state, parent, … (proc_pid_stat(5)).
            fields = _read(f"/proc/{entry.name}/stat").rpartition(")")[2].split()
            if fields:
                user, system, reaped_user, reaped_system = (int(n) / _TICKS for n in fields[11:15])
                found[int(entry.name)] = _Process(
                    int(fields[1]), user + system, reaped_user + reaped_system
                )
    return found


def _tree(pid: int, running: Mapping[int, _Process]) -> list[int]:
    """A process and all its living descendants."""
    found = [pid] if pid in running else []
    for parent in found:
        found += [child for child, process in running.items() if process.parent == parent]
    return found


def _waited_s(pid: int) -> float:
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    # Nanoseconds on the processor, nanoseconds waiting for it, time slices.
    figures = [_read(str(thread)).split() for thread in threads]
    return sum(int(figure[1]) for figure in figures if figure) / 1e9


def _read(path: str) -> str:
    """The text of a file of /proc; empty if its process has just ended."""
    try:
        return Path(path).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def description(folder: Path) -> dict[str, object]:
    """The machine, and the disk under a folder, for the result file."""
    model = re.search(r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = re.search(r"^MemTotal:\s+(\d+) kB", Path("/proc/meminfo").read_text(), re.MULTILINE)
    return {
        "kernel": platform.release(),
        "processor": model[1] if model else platform.machine(),
        "processors": os.cpu_count(),
        "memory_mb": int(memory[1]) // 1024 if memory else None,
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "fsync_ms": fsync_ms(folder),
    }


def fsync_ms(folder: Path) -> float:
    """What a durable commit costs at least; near zero on a file system in memory."""
    probe = folder / "fsync"
    taken: list[float] = []
    with probe.open("wb", buffering=0) as file:
        for _ in range(50):
            file.write(b"x" * 4096)
            begun = time.perf_counter()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begun)
    probe.unlink()
    return round(statistics.median(taken) * 1000, 3)
