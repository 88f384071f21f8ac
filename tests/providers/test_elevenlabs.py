"""Speech and transcripts in ElevenLabs' dialect."""

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.audio import Transcription, TranscriptionVerbose

from hermod.domain.failure import Failure
from hermod.domain.outcome import Native
from hermod.kinds.form import FilePart
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Outgoing, Prepared
from hermod.providers.elevenlabs import dialect as elevenlabs
from hermod.providers.multipart_body import FormFile, compose, fields_and_files
from tests.providers.any_json import any_json
from tests.providers.recorded import parts_of

SPEECH = KIND_BY_TYPE["speech"]
TRANSCRIPTION = KIND_BY_TYPE["transcription"]
SOUND = "eleven_text_to_sound_v2"
FILE = FormFile(FilePart("file", "a.mp3", "audio/mpeg", 3), memoryview(b"ID3"))
WORDS = [
    {"text": "Who", "start": 0.1, "end": 0.3, "type": "word", "speaker_id": "s0"},
    {"text": " ", "start": 0.3, "end": 0.4, "type": "spacing", "speaker_id": "s0"},
    {"text": "(hooves)", "start": 0.4, "end": 2, "type": "audio_event", "speaker_id": None},
]


def speech(model: str = "eleven_v3", /, **asked: Any) -> Outgoing:
    body = {"model": f"elevenlabs/{model}", "input": "Hi", "voice": "v1"} | asked
    return Outgoing(json.dumps(body).encode(), None, model, True, "")


def said(model: str = "eleven_v3", /, **asked: Any) -> Prepared:
    return elevenlabs.build(SPEECH, speech(model, **asked))


def form(**fields: str) -> Outgoing:
    given = [("model", "elevenlabs/scribe_v2"), *fields.items()]
    body, content_type = compose(given, [FILE], "ours")
    return Outgoing(body, content_type, "scribe_v2", True, "theirs")


def heard(reply: object, **fields: str) -> Answered | Failure:
    body = json.dumps(reply).encode()
    return elevenlabs.read(TRANSCRIPTION, form(**fields), "application/json", body)


def transcript(reply: object, **fields: str) -> Answered:
    found = heard(reply, **fields)
    assert isinstance(found, Answered), found
    return found


@pytest.mark.parametrize(
    ("asked", "theirs"),
    [
        (None, "mp3_44100_128"),
        ("mp3", "mp3_44100_128"),
        ("opus", "opus_48000_128"),
        ("pcm", "pcm_24000"),
        ("wav", "wav_24000"),
        ("ulaw_8000", "ulaw_8000"),
        ("mp3_22050_32", "mp3_22050_32"),
    ],
)
def test_a_format_stands_in_the_query(asked: str | None, theirs: str) -> None:
    prepared = said(response_format=asked)
    assert prepared.path == f"/v1/text-to-speech/v1?output_format={theirs}"


@pytest.mark.parametrize("form", ["aac", "flac", "mp3&x=1", "MP3_1_1"])
def test_a_format_that_they_have_not_is_refused(form: str) -> None:
    with pytest.raises(CannotCarry) as caught:
        said(response_format=form)
    assert caught.value.param == "response_format"


@pytest.mark.parametrize("voice", ["v1", {"id": "v1"}, [{"voice": "v1"}]])
def test_a_voice_is_named_by_its_id(voice: object) -> None:
    path = said(voice=voice).path
    assert path is not None
    assert path.startswith("/v1/text-to-speech/v1?")


@pytest.mark.parametrize(
    "voice", ["", "..", "a/b", "a?b", [], {}, [{"voice": "a"}, {"voice": "b"}], None]
)
def test_what_names_no_voice_leads_nowhere(voice: object) -> None:
    with pytest.raises(CannotCarry) as caught:
        said(voice=voice)
    assert caught.value.param == "voice"


def test_a_sound_needs_no_voice() -> None:
    assert said(SOUND, voice=None).path == "/v1/sound-generation?output_format=mp3_44100_128"


def test_settings_of_the_voice_are_gathered() -> None:
    body = json.loads(said(voice_settings={"style": 0.1}, stability=0.5, speed=0.9).body)
    assert body["voice_settings"] == {"style": 0.1, "stability": 0.5, "speed": 0.9}


def test_instructions_are_refused_or_dropped() -> None:
    with pytest.raises(CannotCarry):
        said(instructions="Whisper.")
    asked = speech(instructions="Whisper.")._replace(drop_unsupported=True)
    assert elevenlabs.build(SPEECH, asked).dropped == ("instructions",)


@pytest.mark.parametrize(("model", "more"), [(SOUND, {}), ("eleven_v3", {"stream_format": "sse"})])
def test_times_of_sounds_and_streams_are_refused(model: str, more: dict[str, Any]) -> None:
    with pytest.raises(CannotCarry) as caught:
        said(model, with_timestamps=True, **more)
    assert caught.value.param == "with_timestamps"


def test_audio_is_the_answer_and_what_a_caller_gets() -> None:
    found = elevenlabs.read(SPEECH, speech(), "audio/mpeg", b"\xff\xfb")
    assert isinstance(found, Answered)
    assert found.native == Native("audio/mpeg", b"\xff\xfb")


def test_a_stream_of_audio_is_openais_events() -> None:
    asked = speech(stream_format="sse")
    assert elevenlabs.build(SPEECH, asked).path == (
        "/v1/text-to-speech/v1/stream?output_format=mp3_44100_128"
    )
    stream = elevenlabs.open_stream(SPEECH, asked)
    told = stream.feed(b"ab") + stream.feed(b"") + stream.feed(b"c") + stream.end()
    events = [json.loads(each.removeprefix("data: ")) for each in told.decode().split("\n\n")[:-1]]
    assert [each["type"] for each in events] == ["speech.audio.delta"] * 2 + ["speech.audio.done"]
    assert b"".join(base64.b64decode(each["audio"]) for each in events[:-1]) == b"abc"


def test_a_stream_without_audio_has_no_end() -> None:
    assert elevenlabs.open_stream(SPEECH, speech()).end() == b""


def test_a_form_is_written_in_their_words() -> None:
    prepared = elevenlabs.build(
        TRANSCRIPTION,
        form(language="en", response_format="json", stream="false", tag_audio_events="false"),
    )
    assert parts_of(prepared.body, prepared.content_type) == {
        "fields": {
            "model_id": "scribe_v2",
            "language_code": "en",
            "tag_audio_events": "false",
        },
        "files": {"file": {"filename": "a.mp3", "content_type": "audio/mpeg", "text": "ID3"}},
    }


def test_only_one_file_goes_along() -> None:
    other = FormFile(FilePart("other", "b", "", 1), memoryview(b"b"))
    body, content_type = compose([("model", "elevenlabs/s")], [other, FILE], "ours")
    asked = Outgoing(body, content_type, "s", True, "theirs")
    prepared = elevenlabs.build(TRANSCRIPTION, asked)
    parts = fields_and_files(prepared.body, prepared.content_type)
    assert [each.part.name for each in parts.files] == ["file"]


@pytest.mark.parametrize(
    ("param", "fields"),
    [
        ("prompt", {"prompt": "Names: Hermod"}),
        ("response_format", {"response_format": "diarized_json"}),
        ("webhook", {"webhook": "true"}),
    ],
)
def test_what_they_have_no_words_for_is_refused(param: str, fields: dict[str, str]) -> None:
    with pytest.raises(CannotCarry) as caught:
        elevenlabs.build(TRANSCRIPTION, form(**fields))
    assert caught.value.param == param


def test_unknown_fields_stay_here_where_the_operator_says_so() -> None:
    asked = form(diarize="true")._replace(forward_unknown=False)
    prepared = elevenlabs.build(TRANSCRIPTION, asked)
    assert parts_of(prepared.body, prepared.content_type)["fields"] == {"model_id": "scribe_v2"}


def test_json_is_the_text() -> None:
    found = transcript({"text": "Who", "words": WORDS})
    assert Transcription.model_validate_json(found.body).text == "Who"
    assert json.loads(found.body) == {"text": "Who", "usage": {"type": "duration", "seconds": 2}}


def test_verbose_json_has_the_words_and_no_spaces() -> None:
    reply = {"text": "Who", "language_code": "eng", "words": WORDS, "audio_duration_secs": 2.5}
    found = transcript(reply, response_format="verbose_json")
    whole = TranscriptionVerbose.model_validate_json(found.body)
    assert (whole.language, whole.duration) == ("eng", 2.5)
    assert [each.word for each in whole.words or ()] == ["Who", "(hooves)"]


def test_who_asks_for_speakers_sees_them() -> None:
    words = json.loads(transcript({"text": "Who", "words": WORDS}, diarize="true").body)["words"]
    assert words[0] == {"word": "Who", "start": 0.1, "end": 0.3, "speaker": "s0"}


def test_text_is_a_text() -> None:
    found = transcript({"text": "Who"}, response_format="text")
    assert found.native == Native("text/plain; charset=utf-8", b"Who")


def test_subtitles_may_come_in_base64() -> None:
    srt = "1\n00:00:00,100 --> 00:00:00,900\nWho, when: 1,5 --> 2,5?\n"
    content = base64.b64encode(srt.encode()).decode()
    told = {"requested_format": "srt", "is_base64_encoded": True, "content": content}
    reply = {"text": "Who", "additional_formats": [None, told]}
    found = transcript(reply, response_format="srt")
    assert found.native is not None
    assert found.native.body.decode() == srt
    as_vtt = transcript(reply, response_format="vtt").native
    assert as_vtt is not None
    assert as_vtt.body.decode() == (
        "WEBVTT\n\n1\n00:00:00.100 --> 00:00:00.900\nWho, when: 1,5 --> 2,5?\n"
    )


def test_subtitles_that_did_not_come_are_no_answer() -> None:
    assert isinstance(heard({"text": "Who"}, response_format="srt"), Failure)


def test_channels_are_put_together() -> None:
    channels = [{"text": "Who", "words": WORDS[:1]}, {"text": "I", "words": []}]
    found = transcript({"transcripts": channels}, use_multi_channel="true")
    assert json.loads(found.body)["text"] == "Who\nI"


def test_silence_is_a_transcript_and_a_promise_is_none() -> None:
    assert json.loads(transcript({"text": "", "words": []}).body)["text"] == ""
    assert isinstance(heard({"message": "you will hear of it", "request_id": "r"}), Failure)


REPLIES = any_json(
    "text words start end type speaker_id transcripts additional_formats requested_format content "
    "is_base64_encoded audio_duration_secs language_code audio_base64 alignment detail status"
)


@given(REPLIES, st.sampled_from(["json", "text", "srt", "vtt", "verbose_json"]))
def test_no_reply_makes_it_raise(reply: object, wanted: str) -> None:
    heard(reply, response_format=wanted)
    heard({"text": "x", "words": [reply], "additional_formats": [reply]}, response_format=wanted)
    heard({"transcripts": [reply]}, response_format=wanted)
    body = json.dumps(reply).encode()
    elevenlabs.read(SPEECH, speech(with_timestamps=True), None, body)
    elevenlabs.read(SPEECH, speech(), None, body)
    elevenlabs.refusal(400, None, body)


@given(REPLIES)
def test_no_request_makes_it_raise_anything_else(value: object) -> None:
    for asked in ({"voice": value}, {"voice_settings": value}, {"stability": value}):
        with suppress(CannotCarry):
            elevenlabs.build(SPEECH, speech("eleven_v3", **asked))
