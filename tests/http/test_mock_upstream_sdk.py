"""The official OpenAI client against the mock upstream: it parses every kind of reply."""

import base64
import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from hermod.clock import SystemClock
from hermod.mock_upstream import MockUpstream, UpstreamSettings
from hermod.providers.mock import media as mock_media
from hermod.providers.mock import mock

AUDIO = b"RIFF\r\n--\r\n\x00\xff" * 1000
DIGEST = hashlib.sha256(AUDIO).hexdigest()
SAYS: Any = [{"role": "user", "content": "say it, brother"}]
FUNCTION: Any = {"name": "f", "parameters": {"type": "object", "properties": {}}}


@asynccontextmanager
async def sdk(strict: bool = True) -> AsyncGenerator[openai.AsyncOpenAI]:
    """The client of a running server, which validates what it reads against its types."""
    server = MockUpstream(UpstreamSettings(latency="0"), SystemClock())
    port = await server.start("127.0.0.1", 0)
    async with openai.AsyncOpenAI(
        api_key="any",
        base_url=f"http://127.0.0.1:{port}/v1",
        max_retries=0,
        _strict_response_validation=strict,
    ) as client:
        try:
            yield client
        finally:
            await server.stop()


async def test_the_models_are_listed() -> None:
    async with sdk() as client:
        assert {model.id async for model in client.models.list()} == set(mock.models())


async def test_a_chat_is_the_same_with_and_without_a_stream() -> None:
    async with sdk() as client:
        whole = await client.chat.completions.create(model="echo", messages=SAYS)
        stream = await client.chat.completions.create(
            model="echo", messages=SAYS, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    deltas = [choice.delta.content or "" for chunk in chunks for choice in chunk.choices]
    assert "".join(deltas) == whole.choices[0].message.content == "say it, brother"
    assert chunks[-1].usage == whole.usage


async def test_the_clients_accumulator_finds_the_tool_call_of_a_chat() -> None:
    tools: Any = [{"type": "function", "function": FUNCTION | {"strict": True}}]
    async with (
        sdk() as client,
        client.chat.completions.stream(model="tool", messages=SAYS, tools=tools) as stream,
    ):
        whole = await stream.get_final_completion()
    (call,) = whole.choices[0].message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("f", "{}")


async def test_a_text_completion_is_the_same_with_and_without_a_stream() -> None:
    # OpenAI's chunks have `finish_reason: null`, against the client's own type.
    async with sdk(strict=False) as client:
        whole = await client.completions.create(model="echo", prompt="a b c")
        stream = await client.completions.create(model="echo", prompt="a b c", stream=True)
        texts = [chunk.choices[0].text async for chunk in stream]
    assert "".join(texts) == whole.choices[0].text == "a b c"


@pytest.mark.parametrize("model", ["echo", "tool"])
async def test_the_clients_accumulator_finds_the_whole_response(model: str) -> None:
    tools: Any = [{"type": "function", **FUNCTION, "strict": True}]
    async with sdk() as client:
        whole = await client.responses.create(model=model, input="a b c", tools=tools)
        async with client.responses.stream(model=model, input="a b c", tools=tools) as stream:
            found = await stream.get_final_response()
    assert found.output_text == whole.output_text
    assert [item.type for item in found.output] == [item.type for item in whole.output]


async def test_an_embedding_is_the_same_in_the_base64_that_the_client_prefers() -> None:
    async with sdk() as client:
        floats = await client.embeddings.create(model="embed", input="a", encoding_format="float")
    async with sdk(strict=False) as client:
        packed = await client.embeddings.create(model="embed", input="a")
    assert packed.data[0].embedding == pytest.approx(floats.data[0].embedding)


@pytest.mark.parametrize("response_format", ["mp3", "wav", "opus", "aac", "flac", "pcm"])
async def test_a_speech_is_its_bytes(response_format: Any) -> None:
    async with sdk() as client:
        reply = await client.audio.speech.create(
            model="speech", input="a", voice="alloy", response_format=response_format
        )
        assert reply.content == mock_media.audio("a", response_format)
        assert reply.response.headers["content-type"] == mock_media.AUDIO_TYPES[response_format]


async def test_a_transcription_proves_that_the_audio_arrived() -> None:
    async with sdk() as client:
        reply = await client.audio.transcriptions.create(model="echo", file=("hé.wav", AUDIO))
    assert f"hé.wav (audio/x-wav), {len(AUDIO)} bytes, sha256 {DIGEST}" in reply.text


@pytest.mark.parametrize("response_format", ["text", "srt", "vtt", "verbose_json"])
async def test_a_transcription_comes_in_every_format(response_format: Any) -> None:
    async with sdk() as client:
        reply: Any = await client.audio.transcriptions.create(
            model="echo", file=("a.wav", AUDIO), response_format=response_format
        )
    assert DIGEST in (reply if isinstance(reply, str) else reply.text)


async def test_a_transcription_streams() -> None:
    async with sdk() as client:
        stream = await client.audio.transcriptions.create(
            model="echo", file=("a.wav", AUDIO), stream=True
        )
        *deltas, done = [event async for event in stream]
    texts = [event.delta for event in deltas if event.type == "transcript.text.delta"]
    assert done.type == "transcript.text.done"
    assert DIGEST in done.text
    assert "".join(texts) == done.text


async def test_images_are_drawn_edited_and_varied() -> None:
    async with sdk() as client:
        drawn = await client.images.generate(model="image?bytes=500", prompt="a")
        edited = await client.images.edit(model="echo", prompt="a", image=[AUDIO, b"2"], mask=b"3")
        with pytest.warns(DeprecationWarning, match="deprecated"):
            varied = await client.images.create_variation(model="echo", image=AUDIO)
    assert drawn.data
    assert base64.b64decode(drawn.data[0].b64_json or "") == mock_media.image("a", 0, 500)
    for reply in (edited, varied):
        assert reply.data
        assert DIGEST in (reply.data[0].revised_prompt or "")


async def test_images_stream() -> None:
    async with sdk() as client:
        made = await client.images.generate(
            model="image", prompt="a", stream=True, partial_images=1
        )
        types = [event.type async for event in made]
        edited = await client.images.edit(model="image", prompt="a", image=AUDIO, stream=True)
        types += [event.type async for event in edited]
    assert types == [
        "image_generation.partial_image",
        "image_generation.completed",
        "image_edit.completed",
    ]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        ("429", openai.RateLimitError),
        ("error?code=503", openai.InternalServerError),
        ("speech?bytes=-1", openai.BadRequestError),
    ],
)
async def test_errors_are_the_clients_errors(model: str, error: type[Exception]) -> None:
    async with sdk() as client:
        with pytest.raises(error):
            await client.audio.speech.create(model=model, input="a", voice="alloy")


async def test_a_broken_stream_is_an_error_of_the_connection() -> None:
    async with sdk() as client:
        stream = await client.chat.completions.create(
            model="broken-stream", messages=SAYS, stream=True
        )
        with pytest.raises(openai.APIConnectionError):
            _ = [chunk async for chunk in stream]
