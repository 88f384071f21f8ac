"""Work on large bodies, done where it holds nobody else up."""

import asyncio
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

BESIDE_BYTES: Final = 256 * 1024
"""Above this size the hand-over to a thread costs less than the wait of everybody else."""


async def beside(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The result of `work`, which is done in a thread when it has more than a little to do.

    `size` is how many bytes it works on. Raises what it raises.
    """
    if size <= BESIDE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)
