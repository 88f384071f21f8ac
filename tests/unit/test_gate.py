"""worker/gate.py: large bodies wait until they fit."""

import asyncio

import pytest

from hermod.worker.gate import ByteGate


class Visitor:
    """Somebody who enters, and stays until told to leave."""

    def __init__(self, gate: ByteGate, size: int) -> None:
        self.inside = False
        self._leave = asyncio.Event()
        self.task = asyncio.create_task(self._visit(gate, size))

    async def _visit(self, gate: ByteGate, size: int) -> None:
        async with gate.hold(size):
            self.inside = True
            await self._leave.wait()
        self.inside = False

    async def leave(self) -> None:
        self._leave.set()
        await self.task
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def visitors(gate: ByteGate, *sizes: int) -> list[Visitor]:
    arrived = [Visitor(gate, size) for size in sizes]
    await settle()
    return arrived


async def test_what_fits_goes_in_and_the_rest_waits_its_turn() -> None:
    first, second, third = await visitors(ByteGate(10), 6, 4, 1)
    assert (first.inside, second.inside, third.inside) == (True, True, False)
    await second.leave()
    assert third.inside
    await first.leave()
    await third.leave()


async def test_nobody_overtakes_a_larger_one() -> None:
    first, large, small = await visitors(ByteGate(10), 6, 8, 1)
    assert not large.inside
    assert not small.inside
    await first.leave()
    assert large.inside
    assert small.inside
    await large.leave()
    await small.leave()


async def test_what_is_larger_than_the_gate_goes_in_alone() -> None:
    giant, other = await visitors(ByteGate(10), 99, 1)
    assert giant.inside
    assert not other.inside
    await giant.leave()
    assert other.inside
    await other.leave()


@pytest.mark.parametrize("first_leaves", [True, False])
async def test_who_gives_up_waiting_takes_no_room(first_leaves: bool) -> None:
    gate = ByteGate(10)
    first, leaver, last = await visitors(gate, 10, 10, 10)
    if first_leaves:
        # The leaver's turn comes in the same moment in which it is cancelled.
        first._leave.set()
        await first.task
        leaver.task.cancel()
    else:
        leaver.task.cancel()
        await settle()
        await first.leave()
    with pytest.raises(asyncio.CancelledError):
        await leaver.task
    await settle()
    assert last.inside
    await last.leave()
    (again,) = await visitors(gate, 10)
    assert again.inside
    await again.leave()


async def test_all_who_leave_and_give_up_at_once_make_room() -> None:
    gate = ByteGate(10)
    everybody = await visitors(gate, 10, 10, 10)
    for visitor in everybody:  # the first is inside; those who wait are cancelled before it is out
        visitor.task.cancel()
    left = await asyncio.gather(*(v.task for v in everybody), return_exceptions=True)
    assert [type(error) for error in left] == [asyncio.CancelledError] * 3
    first, second = await visitors(gate, 5, 5)
    assert first.inside
    assert second.inside
    await first.leave()
    await second.leave()
