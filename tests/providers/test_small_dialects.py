"""Dialects that differ in one request type: forms that become JSON, replies of their own."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.adapters import dialect_of
from tests.providers.recorded import Example, settings_of

SOUND = {"file": {"filename": "note.MP3", "content_type": "audio/mpeg", "text": "ID3\u00ff"}}
PICTURE = {"filename": "a.webp", "content_type": "image/webp", "text": "RIFF"}


def asked(
    provider: str,
    request_type: str,
    fields: dict[str, str],
    files: dict[str, dict[str, str]],
    **more: bool,
) -> Any:
    """The JSON object that a form becomes."""
    told = {"model": "m", "asked": {"fields": fields, "files": files}, **more}
    example = Example(provider, KIND_BY_TYPE[request_type], "", told)
    prepared = example.build()
    assert prepared.content_type == "application/json"
    return {**json.loads(prepared.body), "dropped": list(prepared.dropped)}


# OpenRouter's transcriptions


@pytest.mark.parametrize(
    ("file", "fields", "found"),
    [
        (SOUND["file"], {}, "mp3"),
        (SOUND["file"], {"file_format": "ogg"}, "ogg"),
        ({**SOUND["file"], "filename": "note"}, {}, "mp3"),
        ({**SOUND["file"], "filename": "note", "content_type": "audio/x-m4a"}, {}, "m4a"),
        ({**SOUND["file"], "filename": "a", "content_type": "application/x"}, {}, "wav"),
    ],
)
def test_the_format_of_a_sound_is_found(
    file: dict[str, str], fields: dict[str, str], found: str
) -> None:
    sent = asked("openrouter", "transcription", fields, {"file": file})
    data = base64.b64encode(b"ID3\xff").decode()
    assert sent == {"model": "m", "input_audio": {"data": data, "format": found}, "dropped": []}


def test_a_list_in_a_form_becomes_an_array() -> None:
    fields = {"timestamp_granularities[]": "word", "temperature": "0", "language": "en"}
    sent = asked("openrouter", "transcription", fields, SOUND)
    assert sent["timestamp_granularities"] == ["word"]
    assert (sent["temperature"], sent["language"]) == (0, "en")


def test_a_number_that_is_none_is_left_to_the_upstream() -> None:
    sent = asked("openrouter", "transcription", {"temperature": "warm"}, SOUND)
    assert sent["temperature"] == "warm"


def test_undocumented_fields_stay_behind_when_they_shall() -> None:
    fields = {"temperature": "0.2", "language": "en"}
    sent = asked("openrouter", "transcription", fields, SOUND, forward_unknown=False)
    assert "temperature" not in sent
    assert sent["language"] == "en"


def test_a_prompt_that_openrouter_has_no_place_for_is_refused() -> None:
    with pytest.raises(CannotCarry, match="prompt: not supported by openrouter") as caught:
        asked("openrouter", "transcription", {"prompt": "names"}, SOUND)
    assert caught.value.param == "prompt"


def test_a_prompt_is_dropped_where_that_is_allowed() -> None:
    sent = asked("openrouter", "transcription", {"prompt": "a"}, SOUND, drop_unsupported=True)
    assert "prompt" not in sent
    assert sent["dropped"] == ["prompt"]


# xAI's image edits


def test_several_images_go_in_an_array() -> None:
    files = {"image[]": PICTURE, "image": {**PICTURE, "content_type": "image/png"}}
    sent = asked("xai", "image_edit", {"prompt": "a", "n": "2"}, files)
    assert [each["url"].partition(";")[0] for each in sent["images"]] == [
        "data:image/webp",
        "data:image/png",
    ]
    assert "image" not in sent
    assert sent["n"] == 2


def test_a_mask_is_refused_where_there_are_none() -> None:
    files = {"image": PICTURE, "mask": PICTURE}
    with pytest.raises(CannotCarry, match="mask: not supported by xai"):
        asked("xai", "image_edit", {"prompt": "a"}, files)


# Replies


def replied(provider: str, request_type: str, body: bytes) -> Answered | Failure:
    """What a reply to a request of that type comes to."""
    asked_for = {
        "rerank": {"query": "q", "documents": [{"text": "a"}]},
        "speech": {"input": "a", "voice": "v", "response_format": "wav"},
        "chat_completion": {"messages": [{"role": "user", "content": "a"}]},
    }[request_type]
    configured = settings_of(provider)
    request = json.dumps({"model": f"{provider}/m", **asked_for}).encode()
    outgoing = Outgoing(request, None, "m", True, "b", configured, now_s=1)
    dialect = dialect_of(configured.row, request_type)
    return dialect.read(KIND_BY_TYPE[request_type], outgoing, "application/json", body)


def test_mistrals_speech_is_given_as_sound_too() -> None:
    found = replied("mistral", "speech", b'{"audio_data":"AAEC"}')
    assert isinstance(found, Answered)
    assert json.loads(found.body) == {"audio": "AAEC"}
    assert found.native is not None
    assert (found.native.content_type, found.native.body) == ("audio/wav", b"\x00\x01\x02")


@pytest.mark.parametrize(
    ("provider", "request_type", "body"),
    [
        ("mistral", "speech", b'{"audio_data":""}'),
        ("mistral", "speech", b'{"audio_data":"?"}'),
        ("mistral", "speech", b'{"audio_data":5}'),
        ("mistral", "speech", b'{"audio_data":"\xc3\xa9"}'),
        ("mistral", "speech", b"\xff\xfbsound"),
        ("sgl", "rerank", b'[{"index":1,"score":0.5}]'),
        ("sgl", "rerank", b'[{"index":"0","score":0.5}]'),
        ("sgl", "rerank", b'[{"index":0}]'),
        ("sgl", "rerank", b"[[["),
        ("sgl", "rerank", b"[" * 10_000),
        ("sgl", "rerank", b'{"object":"error","message":"m","code":400}'),
        ("perplexity", "chat_completion", b'{"object":"response","output":5}'),
    ],
)
def test_what_is_no_answer_is_none(provider: str, request_type: str, body: bytes) -> None:
    assert isinstance(replied(provider, request_type, body), Failure)


def test_sglangs_scores_keep_their_digits() -> None:
    found = replied("sgl", "rerank", b'[{"index":0,"score":0.30000000000000004e0}]')
    assert isinstance(found, Answered)
    assert b"0.30000000000000004e0" in found.body


def test_no_result_at_all_is_an_answer_of_none() -> None:
    found = replied("sgl", "rerank", b"[]")
    assert isinstance(found, Failure) or json.loads(found.body)["results"] == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["audio_data", "index", "score", "output", "type", "results", "content", "url"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@settings(max_examples=60)
@given(JSON)
def test_no_json_breaks_a_reader(value: object) -> None:
    body = json.dumps(value).encode()
    for provider, request_type in (
        ("mistral", "speech"),
        ("sgl", "rerank"),
        ("perplexity", "chat_completion"),
    ):
        replied(provider, request_type, body)
