"""The SDKs' clients, so that one test can be run with the one that waits and with the async one."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import anthropic
import openai
import pytest
from google import genai
from google.genai import types

Answer = TypeVar("Answer")

PATIENCE_S = 30.0
KEY = "dummy"
"""Every SDK insists on one."""
PLAIN: Final[dict[str, Any]] = {"trust_env": False, "verify": False}
"""Of HTTP clients: the gateway is near, and loading certificates takes longer than most tests."""

both = pytest.mark.parametrize("flavour", ["sync", "async"])
"""With the client that blocks, and with the async one."""


@asynccontextmanager
async def openai_client(flavour: str, base_url: str, **options: Any) -> AsyncGenerator[Any]:
    """A client that validates every answer against its types, unless told otherwise."""
    options = {"api_key": KEY, "_strict_response_validation": True} | options
    if flavour == "sync":
        http = openai.DefaultHttpxClient(**PLAIN)
        with openai.OpenAI(base_url=base_url, http_client=http, **options) as blocking:
            yield blocking
    else:
        async_http = openai.DefaultAsyncHttpxClient(**PLAIN)
        async with openai.AsyncOpenAI(
            base_url=base_url, http_client=async_http, **options
        ) as client:
            yield client


@asynccontextmanager
async def anthropic_client(flavour: str, base_url: str, **options: Any) -> AsyncGenerator[Any]:
    """A client that validates every answer against its types, unless told otherwise."""
    options = {"api_key": KEY, "_strict_response_validation": True} | options
    if flavour == "sync":
        http = anthropic.DefaultHttpxClient(**PLAIN)
        with anthropic.Anthropic(base_url=base_url, http_client=http, **options) as blocking:
            yield blocking
    else:
        async_http = anthropic.DefaultAsyncHttpxClient(**PLAIN)
        async with anthropic.AsyncAnthropic(
            base_url=base_url, http_client=async_http, **options
        ) as client:
            yield client


class Google:
    """Clients of the Gemini API, kept: making one takes longer than a test."""

    def __init__(self) -> None:
        self._clients: dict[str, genai.Client] = {}

    @asynccontextmanager
    async def __call__(self, flavour: str, base_url: str) -> AsyncGenerator[Any]:
        """One that blocks, or an async one."""
        client = self._clients.get(base_url)
        if client is None:
            options = types.HttpOptions(
                base_url=base_url, client_args=PLAIN, async_client_args=PLAIN
            )
            client = self._clients[base_url] = genai.Client(api_key=KEY, http_options=options)
        if flavour == "sync":
            yield client
        else:
            async with client.aio as aio:
                yield aio

    def close(self) -> None:
        """Close all of them."""
        for client in self._clients.values():
            client.close()


async def got(answer: Any) -> Any:
    """What a call of either client returns, in the end."""
    return await answer if inspect.isawaitable(answer) else answer


async def items(stream: Any) -> list[Any]:
    """Everything in a stream, or in the pages of a list, of either client."""
    if not hasattr(stream, "__aiter__"):
        stream = await got(stream)
    if hasattr(stream, "__aiter__"):
        return [item async for item in stream]
    return list(stream)


@asynccontextmanager
async def opened(manager: Any) -> AsyncGenerator[Any]:
    """Within a context manager of either client."""
    if hasattr(manager, "__aenter__"):
        async with manager as inside:
            yield inside
    else:
        with manager as inside:
            yield inside


async def until(
    done: Callable[[Answer], bool], ask: Callable[[], Awaitable[Answer]]
) -> list[Answer]:
    """Every answer up to the first that is `done`."""
    answers = [await ask()]
    async with asyncio.timeout(PATIENCE_S):
        while not done(answers[-1]):
            await asyncio.sleep(0.02)
            answers.append(await ask())
    return answers


def tries(error: Any) -> int:
    """How many requests the SDK sent until it gave up."""
    return int(error.response.request.headers["x-stainless-retry-count"]) + 1
