"""calls/forward.py: what of a stream reaches the caller, and when it counts as an answer."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from hermod.calls.forward import Forwarded, Stream, forward, streamed_answer
from hermod.domain.live import Live
from hermod.domain.usage import Usage
from hermod.net.messages import NetError, Reason

CHUNK = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'


class Taker:
    """A caller who takes what comes, or nothing at all."""

    def __init__(self, *, stuck: bool = False) -> None:
        self.begun = ""
        self.got = b""
        self._stuck = stuck

    def begin(self, content_type: str) -> None:
        self.begun = content_type

    async def write(self, piece: bytes) -> None:
        self.got += piece
        if self._stuck:
            await asyncio.Event().wait()


async def passed_on(
    pieces: Iterable[bytes], taker: Taker | None = None, *, timeout_s: float = 20.0
) -> Forwarded:
    """What is known of a stream of these pieces afterwards."""

    async def stream() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    taker = taker or Taker()
    whole = Stream("text/event-stream", stream())
    return await forward(whole, Live(taker), taker, (), timeout_s=timeout_s)


@pytest.mark.parametrize(
    "last",
    [
        b"data: [DONE]\n\n",
        b"data:[DONE]\n\n",
        b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
        b'data: {"type": "response.completed","response":{}}\n\n',
        b'data: {"type":"response.incomplete","response":{}}\n\n',
        b'data: {"type":"speech.audio.done"}\n\n',
        b'data: {"type":"transcript.text.done"}\n\n',
        b'data: {"type":"image_generation.completed"}\n\n',
        b'data: {"type":"image_edit.completed"}\n\n',
    ],
)
async def test_a_stream_with_its_last_event_is_an_answer_however_it_is_cut(last: bytes) -> None:
    whole = CHUNK + last
    for pieces in ([whole], [bytes([byte]) for byte in whole]):
        done = await passed_on(pieces)
        assert (done.size, done.is_whole, done.failed) == (len(whole), True, False)


@pytest.mark.parametrize(
    ("last", "is_all"),
    [
        (b'data: {"choices":[{"delta":{},"finish_reason":"stop"}]}\n\n', False),
        (b"data: [DONE]\n\n", True),
        (b'data: {"type":"response.completed","response":{}}\n\n', True),
        (b'data: {"type":"image_generation.completed"}\n\n', False),
    ],
)
async def test_it_is_known_when_the_caller_has_had_all(last: bytes, is_all: bool) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield CHUNK
        assert not live.told_all
        yield last
        assert live.told_all == is_all

    taker = Taker()
    live = Live(taker)
    await forward(Stream("text/event-stream", stream()), live, taker, (), timeout_s=20.0)
    assert live.told_all == is_all


async def test_an_upstream_that_does_not_hang_up_after_all_was_told_has_answered() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"data: [DONE]\n\n"
        raise NetError(Reason.TIMEOUT_IDLE, "nothing more", sent=True)

    taker = Taker()
    told = Stream("text/event-stream", stream())
    assert (await forward(told, Live(taker), taker, (), timeout_s=20.0)).is_whole


async def test_an_upstream_that_stays_after_its_error_is_left() -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b'data: {"error":{"message":"overloaded"}}\n\n'
        yield CHUNK
        await asyncio.Event().wait()

    taker = Taker()
    told = Stream("text/event-stream", stream())
    found = await forward(told, Live(taker), taker, (), timeout_s=60.0)
    assert found.failed
    assert taker.got.endswith(CHUNK)


@pytest.mark.parametrize(
    "text",
    [
        b'data: {"choices":[{"delta":{"content":"data: [DONE]"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\ndata: [DONE]"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"\\"finish_reason\\": \\"stop\\""}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":""}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"hi"},"finish_reason":null}]}\n\n',
    ],
)
async def test_words_of_the_model_do_not_end_a_stream(text: bytes) -> None:
    assert not (await passed_on([CHUNK, text])).is_whole


@pytest.mark.parametrize(
    "error",
    [
        b'event: error\ndata: {"type":"error","message":"no"}\n\n',
        b'data: {"type": "error","message":"no"}\n\n',
        b'data: {"type":"response.failed","response":{}}\n\n',
        b'data: {"error":{"message":"no"}}\n\ndata: [DONE]\n\n',
        b'data: {"error": "no"}\n\ndata: [DONE]\n\n',
        b'data: {"error":{"code":502},"choices":[{"delta":{},"finish_reason":"error"}]}\n\n',
        b'data: {"choices":[{"delta":{},"finish_reason":"error"}],"error":{}}\n\ndata: [DONE]\n\n',
    ],
)
async def test_an_error_in_a_stream_is_no_answer_however_it_is_cut(error: bytes) -> None:
    whole = CHUNK + error
    for pieces in ([whole], [error], [bytes([byte]) for byte in whole]):
        assert (await passed_on(pieces)).failed


@pytest.mark.parametrize(
    "text",
    [
        b'data: {"choices":[{"delta":{"content":"\\n\\nevent: error"}}],"error":null}\n\n',
        b'data: {"error":null,"choices":[]}\n\n',
        b'data: {"type":"response.output_text.delta","delta":"{\\"type\\":\\"error\\"}"}\n\n',
    ],
)
async def test_talk_of_errors_is_none(text: bytes) -> None:
    done = await passed_on([CHUNK, text, b"data: [DONE]\n\n"])
    assert (done.is_whole, done.failed) == (True, False)


async def test_a_caller_who_takes_nothing_does_not_hold_the_call_for_ever() -> None:
    taker = Taker(stuck=True)
    with pytest.raises(NetError) as error:
        await passed_on([CHUNK, b"data: [DONE]\n\n"], taker, timeout_s=0.01)
    assert (error.value.reason, error.value.sent) == (Reason.TIMEOUT_TOTAL, True)
    assert taker.got == CHUNK


LAST = b"data: [DONE]\n\n"
USAGE = b'{"prompt_tokens":7,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":2}}'


@pytest.mark.parametrize(
    "told",
    [
        b'data: {"choices":[],"usage":' + USAGE + b"}\n\n",
        b'data: {"choices":[], "usage": ' + USAGE + b', "id": "1"}\n\n',
        b'data: {"type":"response.completed","response":{"usage":' + USAGE + b"}}\n\n",
        b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n'
        b'data: {"choices":[],"usage":' + USAGE + b"}\n\n",
        b'data: {"choices":[],"usage":' + USAGE + b'}\n\ndata: {"choices":[],"usage":null}\n\n',
        b'data: {"type":"response.completed","response":{"usage":'
        + USAGE
        + b',"tools":[{"parameters":{"properties":{"usage":{"type":"string"}}}}]}}\n\n',
    ],
)
async def test_the_usage_of_a_stream_is_found_however_it_is_cut(told: bytes) -> None:
    whole = CHUNK + told + LAST
    for pieces in ([whole], [CHUNK, told, LAST], [bytes([byte]) for byte in whole]):
        assert (await passed_on(pieces)).usage == Usage(7, 5, 2)


@pytest.mark.parametrize(
    "text",
    [
        b'data: {"choices":[{"delta":{"content":"\\"usage\\":{\\"prompt_tokens\\":9}"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"usage"}}],"usage":null}\n\n',
        b'data: {"choices":[],"usage":{"prompt_tokens":9\n\n',
        b'data: {"choices":[],"usage":' + b'{"a":' * 3000 + b"\n\n",
        b'data: {"choices":[],"usage":{"a":"' + b"x" * 10_000 + b'","prompt_tokens":1}}\n\n',
    ],
)
async def test_what_is_no_usage_is_not_taken_for_one(text: bytes) -> None:
    for pieces in ([CHUNK, text, LAST], [bytes([byte]) for byte in CHUNK + text + LAST]):
        assert (await passed_on(pieces)).usage is None


async def test_of_a_stream_that_tells_its_usage_again_and_again_the_last_counts() -> None:
    told = [b'data: {"usage":{"prompt_tokens":%d}}\n\n' % n for n in range(500)]
    assert (await passed_on([*told, LAST])).usage == Usage(499)


def test_a_streamed_answer_costs_what_it_used() -> None:
    answer = streamed_answer(
        "chat_completion",
        "openai",
        "m",
        latency_ms=1,
        forwarded=Forwarded(9, is_whole=True, usage=Usage(7)),
        price=lambda usage: usage and usage.input_tokens * 10,
    )
    assert (answer.usage, answer.cost_usd_nanos) == (Usage(7), 70)
    assert b'"cost_usd_nanos":70' in answer.body
