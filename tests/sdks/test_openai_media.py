"""The official `openai` SDK with vectors, audio and images, on the synchronous routes."""

import base64
import hashlib
import io
import wave
from pathlib import Path
from typing import Any

import openai
import pytest

from hermod.providers.mock import media as mock_media
from hermod.providers.mock.shapes import vector
from tests.sdks.clients import both, got, items, openai_client, opened
from tests.support.program import Gateway

SAID = "Hear my voice, ye holy kindreds."
ASYNC = {"x-bf-async": "true"}
PLAIN_PNG = mock_media.image("a real picture")

every_model = pytest.mark.parametrize(
    ("base", "provider"), [("/v1", "mock/"), ("/v1", "openai/"), ("/openai/v1", "")]
)
"""Inside the gateway, at a real upstream, and there by the name alone."""


def recording() -> bytes:
    """A tenth of a second of a real WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as audio:
        audio.setnchannels(1)
        audio.setsampwidth(2)
        audio.setframerate(16_000)
        audio.writeframes(bytes(range(256)) * 12)
    return file.getvalue()


AUDIO = recording()
DIGEST = hashlib.sha256(AUDIO).hexdigest()


@both
@every_model
async def test_a_vector_is_the_same_as_floats_and_in_base64(
    gateway: Gateway, flavour: str, base: str, provider: str
) -> None:
    model = f"{provider}embed"
    async with openai_client(flavour, gateway.url + base) as client:
        floats = await got(
            client.embeddings.create(model=model, input=[SAID, "b"], encoding_format="float")
        )
    # The base64 that the SDK prefers is against its own type.
    base_url = gateway.url + base
    async with openai_client(flavour, base_url, _strict_response_validation=False) as client:
        packed = await got(client.embeddings.create(model=model, input=[SAID, "b"]))
    assert [each.index for each in floats.data] == [0, 1]
    assert floats.data[0].embedding == pytest.approx(vector(SAID, 16))
    assert packed.data[1].embedding == pytest.approx(floats.data[1].embedding)


@both
@every_model
async def test_a_speech_is_its_bytes(
    gateway: Gateway, flavour: str, base: str, provider: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        for response_format, content_type in mock_media.AUDIO_TYPES.items():
            speech = await got(
                client.audio.speech.create(
                    model=f"{provider}speech",
                    input=SAID,
                    voice="alloy",
                    response_format=response_format,
                )
            )
            assert speech.content == mock_media.audio(SAID, response_format)
            assert speech.response.headers["content-type"] == content_type


@both
async def test_a_speech_is_streamed_to_a_file(
    gateway: Gateway, flavour: str, tmp_path: Path
) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        spoken = client.audio.speech.with_streaming_response.create(
            model="speech?bytes=500000", input=SAID, voice="alloy"
        )
        async with opened(spoken) as response:
            await got(response.stream_to_file(tmp_path / "speech.mp3"))
    assert (tmp_path / "speech.mp3").read_bytes() == mock_media.audio(SAID, "mp3", 500_000)


@both
@every_model
async def test_a_recording_arrives_as_it_was_sent(
    gateway: Gateway, flavour: str, base: str, provider: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        told = await got(
            client.audio.transcriptions.create(model=f"{provider}echo", file=("hé.wav", AUDIO))
        )
    assert f"hé.wav (audio/x-wav), {len(AUDIO)} bytes, sha256 {DIGEST}" in told.text


@both
@every_model
async def test_a_transcription_comes_in_every_format(
    gateway: Gateway, flavour: str, base: str, provider: str
) -> None:
    told = {}
    async with openai_client(flavour, gateway.url + base) as client:
        for wanted in ("text", "srt", "vtt", "json", "verbose_json"):
            told[wanted] = await got(
                client.audio.transcriptions.create(
                    model=f"{provider}echo", file=("a.wav", AUDIO), response_format=wanted
                )
            )
    assert DIGEST in told["text"]
    assert told["srt"].startswith("1\n00:00:00,000 --> ")
    assert told["vtt"].startswith("WEBVTT\n\n")
    assert DIGEST in told["json"].text
    assert DIGEST in told["verbose_json"].segments[0].text


@both
@every_model
async def test_a_transcription_streams(
    gateway: Gateway, flavour: str, base: str, provider: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        *deltas, done = await items(
            client.audio.transcriptions.create(
                model=f"{provider}echo", file=("a.wav", AUDIO), stream=True
            )
        )
    texts = [event.delta for event in deltas if event.type == "transcript.text.delta"]
    assert done.type == "transcript.text.done"
    assert "".join(texts) == done.text
    assert DIGEST in done.text


@both
@every_model
async def test_images_are_drawn_edited_and_varied(
    gateway: Gateway, flavour: str, base: str, provider: str
) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        drawn = await got(
            client.images.generate(model=f"{provider}image?bytes=500", prompt=SAID, n=2)
        )
        edited = await got(
            client.images.edit(
                model=f"{provider}echo",
                prompt=SAID,
                image=[("a.png", PLAIN_PNG), ("b.png", b"2")],
                mask=("mask.png", b"3"),
            )
        )
        with pytest.warns(DeprecationWarning, match="deprecated"):
            varied = await got(
                client.images.create_variation(model=f"{provider}echo", image=("a.png", PLAIN_PNG))
            )
    pictures = [base64.b64decode(each.b64_json) for each in drawn.data]
    assert pictures == [mock_media.image(SAID, index, 500) for index in range(2)]
    digest = hashlib.sha256(PLAIN_PNG).hexdigest()
    for reply in (edited, varied):
        assert digest in reply.data[0].revised_prompt
    assert SAID in edited.data[0].revised_prompt


@both
@every_model
async def test_images_stream(gateway: Gateway, flavour: str, base: str, provider: str) -> None:
    async with openai_client(flavour, gateway.url + base) as client:
        drawn = await items(
            client.images.generate(
                model=f"{provider}image", prompt=SAID, stream=True, partial_images=1
            )
        )
        edited = await items(
            client.images.edit(
                model=f"{provider}image",
                prompt=SAID,
                image=("a.png", PLAIN_PNG),
                stream=True,
                partial_images=1,
            )
        )
    whole, partial = "completed", "partial_image"
    assert [event.type for event in drawn] == [
        f"image_generation.{partial}",
        f"image_generation.{whole}",
    ]
    assert [event.type for event in edited] == [f"image_edit.{partial}", f"image_edit.{whole}"]


def _embed(client: Any) -> Any:
    return client.embeddings.create(model="embed", input=SAID, extra_headers=ASYNC)


def _speak(client: Any) -> Any:
    return client.audio.speech.create(
        model="speech", input=SAID, voice="alloy", extra_headers=ASYNC
    )


def _transcribe(client: Any) -> Any:
    return client.audio.transcriptions.create(
        model="echo", file=("a.wav", AUDIO), extra_headers=ASYNC
    )


def _draw(client: Any) -> Any:
    return client.images.generate(model="image", prompt=SAID, extra_headers=ASYNC)


def _complete(client: Any) -> Any:
    return client.completions.create(model="hello", prompt=SAID, extra_headers=ASYNC)


@both
@pytest.mark.parametrize("call", [_embed, _speak, _transcribe, _draw, _complete])
async def test_other_routes_refuse_to_make_a_job(gateway: Gateway, flavour: str, call: Any) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await got(call(client))
    assert caught.value.body == {"message": "async operation is not supported on this route"}


@both
async def test_a_form_without_a_model_is_a_bad_request(gateway: Gateway, flavour: str) -> None:
    async with openai_client(flavour, f"{gateway.url}/openai/v1") as client:
        with pytest.raises(openai.BadRequestError, match="model is required"):
            await got(client.audio.transcriptions.create(model="", file=("a.wav", AUDIO)))
