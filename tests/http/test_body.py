"""Reading a body: the cap, the budget, and who is told what."""

import asyncio
from collections.abc import Sequence

import pytest

from hermod.domain.errors import Refused
from hermod.http.asgi import Message, Receive, Scope
from hermod.http.body import ByteBudget, ClientGone, read_body

GONE: Message = {"type": "http.disconnect"}


def body(piece: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": piece, "more_body": more}


def scope(**headers: str) -> Scope:
    pairs = [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    return {"type": "http", "headers": pairs}


def receiving(messages: Sequence[Message]) -> Receive:
    left = iter(messages)

    async def receive() -> Message:
        return next(left)

    return receive


async def read(
    messages: Sequence[Message], cap: int = 10, budget: ByteBudget | None = None, **headers: str
) -> bytes:
    return await read_body(scope(**headers), receiving(messages), cap, budget or ByteBudget(1000))


async def refusal(messages: Sequence[Message], **options: object) -> Refused:
    with pytest.raises(Refused) as caught:
        await read(messages, **options)  # pyright: ignore[reportArgumentType]
    return caught.value


PIECES = [body(b"abc", more=True), body(b"", more=True), body(b"de", more=True), body(b"fgh")]


@pytest.mark.parametrize(
    ("messages", "whole"),
    [([body(b"")], b""), ([body(b"abc")], b"abc"), (PIECES, b"abcdefgh")],
)
async def test_the_body_is_what_was_sent(messages: list[Message], whole: bytes) -> None:
    assert await read(messages) == whole


async def test_a_body_of_one_piece_is_not_copied() -> None:
    piece = b"abcdefgh"
    assert await read([body(piece)]) is piece


@pytest.mark.parametrize("cap", [8, 9])
async def test_a_body_up_to_the_cap_is_accepted(cap: int) -> None:
    assert await read(PIECES, cap) == b"abcdefgh"
    assert await read([body(b"abcdefgh")], cap, content_length="8") == b"abcdefgh"


@pytest.mark.parametrize("messages", [PIECES, [body(b"abcdefgh")]])
async def test_one_byte_more_than_the_cap_is_refused(messages: list[Message]) -> None:
    refused = await refusal(messages, cap=7)
    assert refused.failure.status_code == 413
    assert refused.failure.message == (
        "request body is larger than 7 bytes (client.max_request_body_size_mb)"
    )


async def test_a_length_above_the_cap_is_refused_before_anything_is_received() -> None:
    assert (await refusal([], cap=7, content_length="8")).failure.status_code == 413


@pytest.mark.parametrize("messages", [[GONE], [body(b"abc", more=True), GONE]])
async def test_a_client_that_leaves_is_no_empty_body(messages: list[Message]) -> None:
    budget = ByteBudget(10)
    with pytest.raises(ClientGone):
        await read(messages, budget=budget)
    assert budget.free == 10


@pytest.mark.parametrize(("total", "enough"), [(7, False), (8, True), (9, True)])
async def test_bodies_in_flight_share_a_budget(total: int, enough: bool) -> None:
    budget = ByteBudget(total)
    if enough:
        assert await read(PIECES, budget=budget) == b"abcdefgh"
    else:
        refused = await refusal(PIECES, budget=budget)
        assert (refused.failure.status_code, refused.retry_after_s) == (503, 1)
    assert budget.free == total


async def test_a_body_holds_the_budget_only_while_it_is_incomplete() -> None:
    budget = ByteBudget(5)
    rest: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
    first = iter([body(b"abc", more=True)])

    async def receive() -> Message:
        for message in first:
            return message
        return await rest

    reading = asyncio.ensure_future(read_body(scope(), receive, 10, budget))
    await asyncio.sleep(0)
    assert budget.free == 2
    assert (await refusal([body(b"abc", more=True)], budget=budget)).failure.status_code == 503
    assert budget.free == 2
    rest.set_result(body(b"d"))
    assert await reading == b"abcd"
    assert budget.free == 5


async def test_a_cancelled_read_gives_its_budget_back() -> None:
    budget = ByteBudget(5)

    async def receive() -> Message:
        return body(b"abc", more=True) if budget.free == 5 else await asyncio.Future()

    reading = asyncio.ensure_future(read_body(scope(), receive, 10, budget))
    await asyncio.sleep(0)
    assert budget.free == 2
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert budget.free == 5


def test_a_hold_that_does_not_fit_takes_nothing() -> None:
    budget = ByteBudget(5)
    with budget.hold(3) as hold:
        with pytest.raises(Refused), budget.hold(3):
            pass
        with pytest.raises(Refused):
            hold.grow(3)
        assert budget.free == 2
    assert budget.free == 5
