"""Streams of every family in the hands of the official `openai` SDK, whole and broken."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from tests.faults.families import Case, Families, families, first_cases
from tests.faults.family_streams import (
    BROKEN,
    PIECES,
    SAID,
    STREAMS,
    bit_by_bit,
    lingering,
    staying,
    whole,
)
from tests.faults.places import SqlitePlace, state_of
from tests.net.upstream import closed
from tests.sdks.clients import KEY, PLAIN
from tests.support.program import Gateway
from tests.support.waiting import wait_until

CASES = [case for case in first_cases() if case.family in STREAMS]
ASKED: Any = [{"role": "user", "content": "Who?"}]
MAY_GROW_MB = 100.0
BEHAVIOURS = {
    "whole": whole,
    "bits": bit_by_bit,
    "staying": staying,
    "lingering": lingering,
    **BROKEN,
}


class Heard(NamedTuple):
    """What a caller got of a stream."""

    said: str
    events: list[Any]
    job_id: str
    error: Exception | None = None


Listen = Callable[[openai.OpenAI, str], Heard]


def chat(client: openai.OpenAI, model: str) -> Heard:
    """A chat completion."""
    stream = client.chat.completions.create(
        model=model, messages=ASKED, stream=True, stream_options={"include_usage": True}
    )
    heard = listened(stream)
    said = [each.choices[0].delta.content or "" for each in heard.events if each.choices]
    return heard._replace(said="".join(said))


def responses(client: openai.OpenAI, model: str) -> Heard:
    """A response."""
    heard = listened(client.responses.create(model=model, input="Who?", stream=True))
    said = [each.delta for each in heard.events if each.type == "response.output_text.delta"]
    return heard._replace(said="".join(said))


def listened(stream: Any) -> Heard:
    """Everything of it, or what came before an error."""
    events: list[Any] = []
    job_id = stream.response.headers["x-hermod-job"]
    try:
        events.extend(stream)
    except (openai.APIError, ValueError) as error:  # its events are not parsed on their way
        return Heard("", events, job_id, error)
    return Heard("", events, job_id)


ways = pytest.mark.parametrize("listen", [chat, responses])


@asynccontextmanager
async def started(
    file: SqlitePlace,
) -> AsyncGenerator[tuple[Gateway, Families, openai.OpenAI]]:
    """A gateway, the upstream of all its families, and the SDK."""
    async with families(BEHAVIOURS) as there:
        config = {
            "providers": there.providers((), ()),
            "hermod": {"upkeep_s": 0.3, "idle_timeout_s": 2},
        }
        with file.start("gateway", config) as gateway:
            http = openai.DefaultHttpxClient(**PLAIN)
            with openai.OpenAI(
                base_url=f"{gateway.url}/v1",
                api_key=KEY,
                http_client=http,
                max_retries=0,
                _strict_response_validation=True,
            ) as client:
                yield gateway, there, client
            assert gateway.process.poll() is None, gateway.output
            assert "Traceback" not in gateway.output, gateway.output


def model_of(case: Case, behaviour: str) -> str:
    """The model that has the upstream stream so."""
    return f"{case.family}/{STREAMS[case.family].model}--{behaviour}--{case.number}"


def reason_of(part: ChatCompletionChunk) -> str | None:
    """Why an answer ended, where a chunk says so."""
    return part.choices[0].finish_reason if part.choices else None


async def ended(file: SqlitePlace, job_id: str, state: str) -> None:
    """Until the job has ended, which is after its caller has had it all."""
    finals = {"completed", "failed", "cancelled"}
    await asyncio.to_thread(wait_until, lambda: state_of(file, job_id) in finals)
    assert state_of(file, job_id) == state


@ways
async def test_the_stream_of_every_family_is_openais(file: SqlitePlace, listen: Listen) -> None:
    async with started(file) as (_, _, client):
        for case in CASES:
            for behaviour in ("whole", "bits"):
                heard = await asyncio.to_thread(listen, client, model_of(case, behaviour))
                assert (heard.error, heard.said) == (None, SAID), case.family
                last = heard.events[-1]
                if listen is chat:
                    (ended_by,) = filter(None, map(reason_of, heard.events))
                    assert ended_by == "stop", case.family
                    usage = last.usage.prompt_tokens, last.usage.completion_tokens
                else:
                    assert heard.events[0].type == "response.created", case.family
                    assert last.type == "response.completed", case.family
                    assert last.response.output_text == SAID, case.family
                    numbers = [each.sequence_number for each in heard.events]
                    assert numbers == list(range(len(numbers))), case.family
                    usage = last.response.usage.input_tokens, last.response.usage.output_tokens
                assert usage == (25, 15), case.family
                await ended(file, heard.job_id, "completed")


@ways
async def test_a_stream_that_breaks_off_is_no_success_for_anybody(
    file: SqlitePlace, listen: Listen
) -> None:
    async with started(file) as (gateway, _, client):
        await asyncio.to_thread(listen, client, model_of(CASES[0], "whole"))
        before_mb = gateway.rss_mb()
        gateway.forget_peak_rss()
        for case in CASES:
            for behaviour in BROKEN:
                heard = await asyncio.to_thread(listen, client, model_of(case, behaviour))
                place = case.family, behaviour
                assert heard.said == PIECES[0], place
                assert heard.error or heard.events[-1].type == "response.failed", place
                await ended(file, heard.job_id, "failed")
        assert gateway.peak_rss_mb() - before_mb <= MAY_GROW_MB


@ways
async def test_who_leaves_ends_the_call(file: SqlitePlace, listen: Listen) -> None:
    def leave(client: openai.OpenAI, model: str) -> str:
        if listen is chat:
            stream: Any = client.chat.completions.create(model=model, messages=ASKED, stream=True)
        else:
            stream = client.responses.create(model=model, input="Who?", stream=True)
        with stream:
            next(iter(stream))
        return stream.response.headers["x-hermod-job"]

    async with started(file) as (_, there, client):
        for case in CASES:
            job_id = await asyncio.to_thread(leave, client, model_of(case, "staying"))
            (asked,) = there.calls("staying", case)
            await closed(asked.peer)
            await ended(file, job_id, "cancelled")


async def test_who_hangs_up_after_the_last_word_has_had_an_answer(file: SqlitePlace) -> None:
    """As the SDK does: it closes its connection when it has read `[DONE]`."""
    (case,) = [case for case in CASES if case.family == "mistral"]
    async with started(file) as (_, _, client):
        heard = await asyncio.to_thread(chat, client, model_of(case, "lingering"))
        assert (heard.error, heard.said) == (None, SAID)
        await ended(file, heard.job_id, "completed")
