"""Failpoints in the test's own process. They are of the process, so no two of these overlap."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager

from hermod.domain import failpoint


@contextmanager
def armed(spec: str) -> Generator[Callable[[], Mapping[str, int]]]:
    """These points are armed inside the block; how often each was reached."""
    failpoint.enable(spec)
    try:
        yield failpoint.hits
    finally:
        failpoint.disable()


def counted(names: Iterable[str] = failpoint.NAMES) -> str:
    """A spec that only counts."""
    return ";".join(f"{name}=count" for name in names)


def steps(verb: str) -> set[str]:
    """The points of one verb of the store."""
    return {name for name in failpoint.NAMES if name.startswith(f"{verb}.")}
