import json
from typing import Any

import pytest
from google.genai import errors, types

from hermod.domain.failure import Failure
from hermod.doors.genai_chunks import Chunks
from hermod.doors.genai_reply import error, from_chat, model, models
from tests.doors.clients import Answer, Sent, cut, google_client

USAGE = {
    "prompt_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 4},
    "completion_tokens": 9,
    "completion_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 19,
}


def choice(reason: str = "stop", index: int = 0, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": None} | message
    return {"index": index, "message": said, "finish_reason": reason}


def call(arguments: str) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def shown(*choices: dict[str, Any]) -> dict[str, Any]:
    """The completion as the SDK reads it: it forbids what it does not know."""
    completion = {"id": "chatcmpl-1", "model": "gpt", "choices": choices, "usage": USAGE}
    body = from_chat(json.dumps(completion | {"extra_fields": {"latency": 1}}).encode())
    strict = types.GenerateContentResponse.model_validate_json(body)
    found = google_client(lambda _: Answer(body)).models.generate_content(model="m", contents="a")
    assert found.candidates == strict.candidates
    return json.loads(body)


def parts(*choices: dict[str, Any]) -> list[dict[str, Any]]:
    return shown(*choices)["candidates"][0]["content"]["parts"]


def test_a_text():
    assert shown(choice(content="hi")) == {
        "candidates": [
            {
                "content": {"role": "model", "parts": [{"text": "hi"}]},
                "index": 0,
                "finishReason": "STOP",
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 7,
            "totalTokenCount": 19,
            "thoughtsTokenCount": 2,
            "cachedContentTokenCount": 4,
        },
        "modelVersion": "gpt",
        "responseId": "chatcmpl-1",
    }


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"refusal": "no"}, "no"),
    ],
)
def test_other_ways_to_say_something(message: dict[str, Any], expected: str):
    assert parts(choice(**message)) == [{"text": expected}]


@pytest.mark.parametrize("member", ["reasoning", "reasoning_content"])
def test_reasoning_is_a_thought(member: str):
    message: dict[str, Any] = {member: "hm", "content": "a"}
    assert parts(choice(**message)) == [{"text": "hm", "thought": True}, {"text": "a"}]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [('{"a": 1}', {"a": 1}), ("", {}), ('"x', {"INVALID_JSON": '"x'})],
)
def test_calls(arguments: str, args: dict[str, Any]):
    found = parts(choice("tool_calls", tool_calls=[call(arguments)]))
    assert found == [{"functionCall": {"name": "f", "id": "c1", "args": args}}]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "STOP"),
        ("tool_calls", "STOP"),
        ("length", "MAX_TOKENS"),
        ("content_filter", "SAFETY"),
        ("other", "OTHER"),
    ],
)
def test_finish_reasons(reason: str, expected: str):
    assert shown(choice(reason, content="a"))["candidates"][0]["finishReason"] == expected


def test_log_probabilities():
    token = {"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1.5}]}
    found = shown(choice(content="a") | {"logprobs": {"content": [token, token]}})
    candidate = found["candidates"][0]
    assert candidate["avgLogprobs"] == -0.5
    chosen = {"token": "a", "logProbability": -0.5}
    top = {"candidates": [{"token": "b", "logProbability": -1.5}]}
    assert candidate["logprobsResult"] == {
        "chosenCandidates": [chosen, chosen],
        "topCandidates": [top, top],
    }


def test_candidates_keep_their_index():
    found = shown(choice(content="b", index=1), choice(content="a", index=0))
    assert [candidate["index"] for candidate in found["candidates"]] == [1, 0]


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (402, "FAILED_PRECONDITION"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (413, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (499, "CANCELLED"),
        (500, "INTERNAL"),
        (502, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_errors_have_googles_names(status: int, name: str):
    body = error(Failure("why", status).to_json())
    assert json.loads(body) == {"error": {"code": status, "message": "why", "status": name}}
    client = google_client(lambda _: Answer(body, status=status))
    with pytest.raises(errors.APIError) as raised:
        client.models.generate_content(model="m", contents="a")
    assert (raised.value.code, raised.value.status) == (status, name)


def test_an_error_without_a_status_is_internal():
    assert json.loads(error(Failure("why").to_json()))["error"]["code"] == 500


def test_the_sdk_lists_models_and_gets_one():
    def answering(request: Sent) -> Answer:
        is_list = request.path.split("?")[0] == "/v1/models"
        return Answer(models(["openai/gpt", "gemini/g"]) if is_list else model("openai/gpt"))

    client = google_client(answering)
    assert [each.name for each in client.models.list()] == ["models/openai/gpt", "models/gemini/g"]
    found = client.models.get(model="openai/gpt")
    assert found.name == "models/openai/gpt"
    assert "generateContent" in (found.supported_actions or [])


# Streams


def chunk(*choices: dict[str, Any], **members: Any) -> bytes:
    whole = {"id": "chatcmpl-1", "model": "gpt", "choices": choices} | members
    return b"data: %b\n\n" % json.dumps(whole).encode()


def delta(reason: str | None = None, index: int = 0, **said: Any) -> dict[str, Any]:
    return {"index": index, "delta": said, "finish_reason": reason}


def piece(index: int, arguments: str, **members: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments} | members}


DONE = b"data: [DONE]\n\n"
STREAM = (
    chunk(delta(role="assistant", content=""))
    + chunk(delta(reasoning="hm"))
    + chunk(delta(content="Grü"))
    + chunk(delta(content="ße"))
    + chunk(delta(tool_calls=[piece(0, "", name="f") | {"id": "c1"}]))
    + chunk(delta(tool_calls=[piece(0, '{\n"a"')]))
    + chunk(delta(tool_calls=[piece(1, "{}", name="g") | {"id": "c2"}]))
    + chunk(delta(tool_calls=[piece(0, ":1}")]))
    + chunk(delta("tool_calls"))
    + chunk(usage=USAGE)
    + DONE
)
SAID = [
    {"text": "hm", "thought": True},
    {"text": "Grü"},
    {"text": "ße"},
    {"functionCall": {"name": "f", "id": "c1", "args": {"a": 1}}},
    {"functionCall": {"name": "g", "id": "c2", "args": {}}},
]


def streamed(stream: bytes, size: int) -> list[types.GenerateContentResponse]:
    """What the SDK makes of it."""
    translator = Chunks(as_events=True)
    out = [*map(translator.feed, cut(stream, size)), translator.end()]

    def answering(request: Sent) -> Answer:
        assert request.path == "/v1/models/m:streamGenerateContent?alt=sse"
        return Answer(out, translator.content_type)

    models = google_client(answering).models
    return list(models.generate_content_stream(model="m", contents="a"))


def as_array(stream: bytes) -> list[dict[str, Any]]:
    translator = Chunks(as_events=False)
    return json.loads(translator.feed(stream) + translator.end())


def said_in(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [part for each in found for part in each["candidates"][0]["content"]["parts"]]


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_the_sdk_reads_a_stream(size: int):
    found = streamed(STREAM, size)
    assert "".join(each.text or "" for each in found) == "Grüße"
    last = found[-1]
    assert last.candidates is not None
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert last.usage_metadata is not None
    assert last.usage_metadata.total_token_count == 19
    calls = last.function_calls or []
    assert [(each.name, each.args) for each in calls] == [("f", {"a": 1}), ("g", {})]


def test_without_alt_sse_the_stream_is_an_array():
    found = as_array(STREAM)
    for each in found:
        types.GenerateContentResponse.model_validate(each)
    assert said_in(found) == SAID
    assert [("finishReason" in each["candidates"][0]) for each in found] == [False] * 3 + [True]
    assert {each["responseId"] for each in found} == {"chatcmpl-1"}


def test_events_end_their_lines_as_googles_do():
    out = Chunks(as_events=True).feed(chunk(delta(content="a")))
    assert out.startswith(b"data: {")
    assert out.endswith(b"}\r\n\r\n")


def test_candidates_of_a_stream_stay_apart():
    stream = (
        chunk(delta(content="a"), delta(index=1, content="b"))
        + chunk(delta("stop"))
        + chunk(delta("length", index=1))
        + DONE
    )
    ends = as_array(stream)[-1]["candidates"]
    assert [end["finishReason"] for end in ends] == ["STOP", "MAX_TOKENS"]


def test_an_upstream_that_never_says_done_is_complete_when_every_choice_is():
    assert as_array(chunk(delta(content="a")) + chunk(delta("stop")))[-1]["candidates"]


@pytest.mark.parametrize(
    ("stream", "code", "message"),
    [
        (b"", 500, "the stream ended before the response was complete"),
        (chunk(delta(content="a")), 500, "the stream ended before the response was complete"),
        (
            chunk(delta(content="a")) + DONE,
            500,
            "the stream ended before the response was complete",
        ),
        (
            chunk(delta("stop"), delta(index=1, content="b")) + DONE,
            500,
            "the stream ended before the response was complete",
        ),
        (b'data: {"error":{"message":"slow","code":429}}\n\n', 429, "slow"),
        (b'data: {"status_code":504,"error":{"message":"late"}}\n\n', 504, "late"),
    ],
)
def test_a_stream_that_breaks_ends_with_an_error(stream: bytes, code: int, message: str):
    assert as_array(stream)[-1]["error"]["code"] == code
    with pytest.raises(errors.APIError, match=message) as raised:
        streamed(stream, 10_000)
    assert raised.value.code == code


def test_after_the_end_nothing_follows():
    translator = Chunks(as_events=True)
    assert translator.feed(STREAM)
    assert translator.feed(STREAM) == b""
    assert translator.end() == b""


def test_an_event_beyond_the_limit_ends_the_stream():
    translator = Chunks(as_events=True, event_bytes_max=100)
    assert b'"error"' in translator.feed(b"data: " + b"x" * 100)
    assert translator.end() == b""
