"""What Gemini's answers become, whole and streamed, beyond the recorded examples."""

import json
from base64 import b64decode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.embedding import EMBEDDING
from hermod.kinds.image_generation import IMAGE_GENERATION
from hermod.kinds.speech import SPEECH
from hermod.kinds.transcription import TRANSCRIPTION
from hermod.providers.adapter import Answered, Outgoing
from hermod.providers.gemini import dialect as gemini
from hermod.providers.gemini.sound import as_wav
from tests.providers.recorded import examples, settings_of

ASKED = {"model": "gemini/g", "messages": [{"role": "user", "content": "Hello?"}]}
CHUNKS = [
    {"candidates": [{"content": {"parts": [{"text": "Let me see.", "thought": True}]}}]},
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "Das Wetter in "}]}}]},
    {"candidates": [{"content": {"role": "model", "parts": [{"text": "Tromsø 🌧:"}]}}]},
    {
        "candidates": [
            {
                "content": {
                    "parts": [
                        {
                            "functionCall": {"name": "weather", "args": {"place": "Tromsø"}},
                            "thoughtSignature": "c2ln",
                        },
                        {"functionCall": {"name": "weather", "args": {}, "id": "own"}},
                    ]
                },
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 5,
            "candidatesTokenCount": 7,
            "thoughtsTokenCount": 3,
            "totalTokenCount": 15,
        },
        "modelVersion": "gemini-3.8-flash",
        "responseId": "r-1",
    },
]
STREAM = b"".join(b"data: %b\r\n\r\n" % json.dumps(each).encode() for each in CHUNKS)
TOLD = b"".join(
    b"data: %b\r\n\r\n" % json.dumps(each, ensure_ascii=False).encode() for each in CHUNKS
)


def outgoing(**asked: Any) -> Outgoing:
    body = json.dumps(ASKED | asked).encode()
    return Outgoing(body, None, "g", True, "", settings_of("gemini"), now_s=1_790_000_000)


def read(reply: Any, **asked: Any) -> Answered | Failure:
    body = json.dumps(reply).encode()
    return gemini.read(CHAT_COMPLETION, outgoing(**asked), "application/json", body)


def answer(reply: Any, **asked: Any) -> dict[str, Any]:
    found = read(reply, **asked)
    assert isinstance(found, Answered), found
    return json.loads(found.body)


def ended(reason: str, *parts: dict[str, Any]) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}]}


def streamed(pieces: list[bytes], **asked: Any) -> tuple[list[dict[str, Any]], bool, Usage | None]:
    """The chunks, whether the stream was whole, and its usage."""
    translator = gemini.open_stream(CHAT_COMPLETION, outgoing(stream=True, **asked))
    told = b"".join(map(translator.feed, pieces)) + translator.end()
    events = [each.removeprefix(b"data: ") for each in told.split(b"\n\n") if each]
    is_whole = events[-1:] == [b"[DONE]"]
    return (
        [json.loads(each) for each in events[: -1 if is_whole else None]],
        is_whole,
        (translator.usage),
    )


@pytest.mark.parametrize(
    ("native", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("SPII", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "stop"),
        ("A_NEW_ONE", "stop"),
    ],
)
def test_finish_reasons(native: str, ours: str) -> None:
    choice = answer(ended(native, {"text": "so far"}))["choices"][0]
    assert choice["finish_reason"] == ours
    assert choice.get("native_finish_reason", native) == native
    assert choice["message"]["content"] == "so far"


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"]
)
def test_a_model_that_went_astray_without_a_word_is_a_fault_worth_another_try(reason: str) -> None:
    found = read(ended(reason))
    assert isinstance(found, Failure)
    assert (found.status_code, found.code) == (502, reason)


def test_a_reply_without_candidates_is_no_answer() -> None:
    found = read({"usageMetadata": {"promptTokenCount": 1}})
    assert isinstance(found, Failure)
    assert found.error_type == "upstream_invalid"


def test_thoughts_are_output_even_where_they_are_counted_apart() -> None:
    apart = {"promptTokenCount": 5, "candidatesTokenCount": 7, "thoughtsTokenCount": 3}
    for total, output in ((15, 10), (12, 7)):
        found = read(
            ended("STOP", {"text": "x"}) | {"usageMetadata": {**apart, "totalTokenCount": total}}
        )
        assert isinstance(found, Answered)
        assert found.usage == Usage(5, output, reasoning_tokens=3)


def test_code_that_was_run_is_shown() -> None:
    parts = [
        {"executableCode": {"language": "PYTHON", "code": "print(2)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
    ]
    said = answer(ended("STOP", *parts))["choices"][0]["message"]["content"]
    assert said == "\n```python\nprint(2)\n```\n\n```\n2\n```\n"


def test_sound_in_a_chat_is_a_wav_file_unless_samples_are_wanted() -> None:
    part = {"inlineData": {"mimeType": "audio/L16;rate=16000", "data": "AAECAw=="}}
    told = answer(ended("STOP", part), audio={"voice": "Kore"})["choices"][0]["message"]["audio"]
    assert b64decode(told["data"]) == as_wav("audio/l16;rate=16000", bytes([0, 1, 2, 3]))
    raw = answer(ended("STOP", part), audio={"voice": "Kore", "format": "pcm16"})
    assert raw["choices"][0]["message"]["audio"]["data"] == "AAECAw=="


def test_errors_tell_how_long_to_wait() -> None:
    def told(*details: Any) -> bytes:
        return json.dumps([{"error": {"code": 429, "message": "m", "details": details}}]).encode()

    assert gemini.retry_after(told({"retryDelay": "34.5s"})) == 34.5
    assert gemini.retry_after(told({}, {"retryDelay": "7s"})) == 7
    for body in (told(), told({"retryDelay": "soon"}), told(3), b"", b"<html>", b"[[[", b"\xff"):
        assert gemini.retry_after(body) is None


def test_a_stream_says_what_the_whole_answer_says() -> None:
    chunks, is_whole, usage = streamed([STREAM], stream_options={"include_usage": True})
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks if chunk["choices"]]
    assert is_whole
    assert deltas[0]["role"] == "assistant"
    assert "".join(each.get("content") or "" for each in deltas) == "Das Wetter in Tromsø 🌧:"
    assert "".join(each.get("reasoning", "") for each in deltas) == "Let me see."
    [calls] = [each["tool_calls"] for each in deltas if "tool_calls" in each]
    assert [(each["index"], each["id"]) for each in calls] == [(0, "call_r-1_0_0"), (1, "own")]
    assert json.loads(calls[0]["function"]["arguments"]) == {"place": "Tromsø"}
    assert calls[0]["extra_content"] == {"google": {"thought_signature": "c2ln"}}
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 10
    assert usage == Usage(5, 10, reasoning_tokens=3)


def test_usage_is_no_chunk_of_its_own_unless_it_is_asked_for() -> None:
    chunks, _, usage = streamed([STREAM])
    assert all(chunk["choices"] and "usage" not in chunk for chunk in chunks)
    assert usage is not None


def test_a_stream_may_be_cut_anywhere() -> None:
    whole = streamed([TOLD])
    for at in range(len(TOLD) + 1):
        assert streamed([TOLD[:at], TOLD[at:]]) == whole
    assert streamed([TOLD[at : at + 1] for at in range(len(TOLD))]) == whole
    assert streamed([TOLD.replace(b"\r\n", b"\n").rstrip(b"\n")]) == whole


def test_a_stream_that_breaks_off_is_not_whole() -> None:
    events = STREAM.split(b"\r\n\r\n")
    chunks, is_whole, _ = streamed([b"\r\n\r\n".join(events[:2]) + b"\r\n\r\n"])
    assert not is_whole
    assert len(chunks) == 2


def test_two_candidates_of_a_stream_are_two_choices() -> None:
    pieces = [
        {
            "candidates": [
                {"content": {"parts": [{"text": "a"}]}, "index": 0, "finishReason": "STOP"}
            ]
        },
        {"candidates": [{"content": {"parts": [{"text": "b"}]}, "index": 1}]},
    ]
    told = [b"data: %b\n\n" % json.dumps(each).encode() for each in pieces]
    assert not streamed(told)[1]
    last = b'data: {"candidates": [{"index": 1, "finishReason": "MAX_TOKENS"}]}\n\n'
    chunks, is_whole, _ = streamed([*told, last])
    assert is_whole
    assert [each["choices"][0]["index"] for each in chunks] == [0, 1, 1]


def test_a_blocked_prompt_ends_a_stream_with_content_filter() -> None:
    told = b'data: {"promptFeedback": {"blockReason": "SAFETY"}}\r\n\r\n'
    [chunk], is_whole, _ = streamed([told])
    assert is_whole
    assert chunk["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (b'{"error": {"code": 503, "message": "too busy", "status": "UNAVAILABLE"}}', "too busy"),
        (b'[{"error": {"code": 500, "message": "broken"}}]', "broken"),
        (b"<html>", "an event of the stream is no JSON"),
        (
            b'{"candidates": [{"finishReason": "MALFORMED_FUNCTION_CALL"}]}',
            "MALFORMED_FUNCTION_CALL: the model gave no answer",
        ),
    ],
)
def test_an_error_is_the_last_thing_that_a_stream_says(event: bytes, message: str) -> None:
    chunks, is_whole, _ = streamed([b"data: %b\n\n" % event, STREAM])
    assert not is_whole
    assert [each["error"]["message"] for each in chunks] == [message]


MEMBERS = sorted(
    {"candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall"}
    | {"name", "args", "id", "inlineData", "mimeType", "data", "finishReason", "index", "error"}
    | {"usageMetadata", "promptTokenCount", "thoughtsTokenCount", "totalTokenCount", "values"}
    | {"promptFeedback", "blockReason", "embeddings", "embedding", "predictions", "details"}
    | {"bytesBase64Encoded", "logprobsResult", "chosenCandidates", "topCandidates", "token"}
    | {"logProbability", "groundingMetadata", "groundingChunks", "web", "uri", "segment"}
    | {"groundingSupports", "groundingChunkIndices", "startIndex", "partIndex", "statistics"}
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["STOP", "SAFETY", "AAAA", "audio/L16;rate=99999", "é", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(MEMBERS), inner, min_size=1, max_size=4)
    ),
    max_leaves=20,
)
FORM = next(each for each in examples() if each.kind is TRANSCRIPTION).outgoing
READS = [
    (CHAT_COMPLETION, outgoing()),
    (EMBEDDING, outgoing(input=["a"], encoding_format="base64")),
    (SPEECH, outgoing(input="a", voice="b")),
    (TRANSCRIPTION, FORM),
    (IMAGE_GENERATION, outgoing(prompt="a")),
    (IMAGE_GENERATION, outgoing(prompt="a")._replace(model="imagen-4")),
]


def bent(value: Any, data: st.DataObject) -> Any:
    """A recorded reply with something else in one of its places."""
    if isinstance(value, dict) and value and data.draw(st.integers(0, 4)):
        name = data.draw(st.sampled_from(sorted(value)))
        return {**value, name: bent(value[name], data)}
    if isinstance(value, list) and value and data.draw(st.integers(0, 4)):
        return [bent(value[0], data), *value[1:]]
    return data.draw(JSON)


REPLIES = [
    each.told["reply"]["body"]
    for each in examples()
    if each.provider in ("gemini", "vertex") and "body" in each.told["reply"]
]


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_json_makes_reading_raise(data: st.DataObject) -> None:
    reply = bent(data.draw(st.sampled_from(REPLIES)), data)
    body = json.dumps(reply).encode()
    for kind, asked in READS:
        found = gemini.read(kind, asked, "application/json", body)
        assert isinstance(found, Failure) or json.loads(found.body)
    gemini.refusal(400, "application/json", body)
    gemini.retry_after(body)
    streamed([b"data: %b\n\n" % body, STREAM])
