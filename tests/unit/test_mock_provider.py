"""The mock provider is a pure function: the same call, the same reply."""

import base64
import json
import math
import struct
from typing import Any

import pytest

from hermod.providers import mock, mock_shapes

NOW_AT = 1_790_000_000_123_456
KINDS = (mock_shapes.CHAT, mock_shapes.TEXT, mock_shapes.RESPONSES, mock_shapes.EMBEDDING)
SAID = "Grüße,\n\u2028 and a \U0001f434"

BODIES: dict[str, dict[str, object]] = {
    mock_shapes.CHAT: {
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "second"},
            {"role": "user", "content": SAID},
            {"role": "assistant"},
        ]
    },
    mock_shapes.TEXT: {"prompt": SAID},
    mock_shapes.RESPONSES: {"input": SAID},
    mock_shapes.EMBEDDING: {"input": SAID},
}


def ask(
    kind: str,
    model: str,
    body: dict[str, object] | bytes | None = None,
    attempt: int = 1,
    job_id: str = "job",
) -> mock.MockReply:
    if not isinstance(body, bytes):
        body = json.dumps(BODIES[kind] if body is None else body).encode()
    return mock.reply(kind, model, body, attempt=attempt, job_id=job_id, now_at=NOW_AT)


def whole(reply: mock.MockReply) -> Any:
    return json.loads(reply.body)


def spoken(kind: str, reply: mock.MockReply) -> list[str]:
    """What each choice of a reply says."""
    answer = whole(reply)
    if kind == mock_shapes.RESPONSES:
        return [answer["output"][0]["content"][0]["text"]]
    if kind == mock_shapes.TEXT:
        return [choice["text"] for choice in answer["choices"]]
    return [choice["message"]["content"] for choice in answer["choices"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", ["hello", "echo", "slow", "flaky?fail=0", "embed", "429?times=0"])
def test_every_model_answers_every_request_type(kind: str, model: str) -> None:
    reply = ask(kind, model)
    answer = whole(reply)
    assert reply.status == 200
    assert reply.headers == (("content-type", "application/json"),)
    assert answer["model"] == model
    objects = {
        mock_shapes.CHAT: "chat.completion",
        mock_shapes.TEXT: "text_completion",
        mock_shapes.RESPONSES: "response",
        mock_shapes.EMBEDDING: "list",
    }
    assert answer["object"] == objects[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_the_usage_adds_up(kind: str) -> None:
    usage = whole(ask(kind, "echo"))["usage"]
    spent = usage.get("prompt_tokens", usage.get("input_tokens"))
    given = usage.get("completion_tokens", usage.get("output_tokens", 0))
    assert spent == math.ceil(len(SAID) / 4)
    assert usage["total_tokens"] == spent + given


@pytest.mark.parametrize("kind", KINDS[:3])
def test_echo_answers_with_the_text_that_came(kind: str) -> None:
    assert spoken(kind, ask(kind, "echo")) == [SAID]


def test_echo_joins_the_text_blocks_of_a_message() -> None:
    blocks = [
        {"type": "text", "text": "a"},
        {"type": "image_url", "image_url": {"url": "x"}},
        {"type": "text", "text": "b"},
    ]
    body: dict[str, object] = {"messages": [{"role": "user", "content": blocks}]}
    assert spoken(mock_shapes.CHAT, ask(mock_shapes.CHAT, "echo", body)) == ["a\nb"]


def test_echo_answers_each_prompt_in_a_choice_of_its_own() -> None:
    body: dict[str, object] = {"prompt": ["a", "b", [1, 2]]}
    assert spoken(mock_shapes.TEXT, ask(mock_shapes.TEXT, "echo", body)) == ["a", "b", "1 2"]


def test_the_time_of_a_reply_is_the_instant_it_was_asked_at() -> None:
    assert whole(ask(mock_shapes.CHAT, "hello"))["created"] == NOW_AT // 1_000_000
    assert whole(ask(mock_shapes.RESPONSES, "hello"))["created_at"] == NOW_AT // 1_000_000


@pytest.mark.parametrize(
    ("given", "count"), [("a", 1), (["a", "b"], 2), ([1, 2, 3], 1), ([[1], [2, 3]], 2), ([], 0)]
)
def test_an_embedding_has_a_vector_for_each_input(given: object, count: int) -> None:
    data = whole(ask(mock_shapes.EMBEDDING, "embed?dim=7", {"input": given}))["data"]
    assert [entry["index"] for entry in data] == list(range(count))
    assert all(len(entry["embedding"]) == 7 for entry in data)


def test_a_vector_depends_on_its_text_alone_and_has_length_one() -> None:
    both = whole(ask(mock_shapes.EMBEDDING, "embed", {"input": ["a", "b"]}))["data"]
    alone = whole(ask(mock_shapes.EMBEDDING, "embed", {"input": "b"}, job_id="another"))["data"]
    assert both[1]["embedding"] == alone[0]["embedding"] != both[0]["embedding"]
    assert math.hypot(*alone[0]["embedding"]) == pytest.approx(1, abs=1e-6)


def test_the_dimensions_of_a_request_win_over_the_option() -> None:
    body: dict[str, object] = {"input": "a", "dimensions": 5}
    data = whole(ask(mock_shapes.EMBEDDING, "embed?dim=9", body))["data"]
    assert len(data[0]["embedding"]) == 5


def test_base64_holds_the_same_vector_as_floats() -> None:
    floats = whole(ask(mock_shapes.EMBEDDING, "embed", {"input": "a"}))["data"][0]["embedding"]
    body: dict[str, object] = {"input": "a", "encoding_format": "base64"}
    packed = whole(ask(mock_shapes.EMBEDDING, "embed", body))["data"][0]["embedding"]
    assert list(struct.unpack("<16f", base64.b64decode(packed))) == floats


@pytest.mark.parametrize(
    ("model", "status", "delay_s"),
    [
        ("slow", 200, 8),
        ("slow?seconds=0.25", 200, 0.25),
        ("timeout", 504, 3600),
        ("timeout?seconds=2", 504, 2),
        ("hello", 200, 0),
    ],
)
def test_a_delay_is_returned_and_not_waited_for(model: str, status: int, delay_s: float) -> None:
    reply = ask(mock_shapes.CHAT, model)
    assert (reply.status, reply.delay_s) == (status, delay_s)


def test_flaky_fails_about_the_share_it_is_told_to() -> None:
    replies = [ask(mock_shapes.CHAT, "flaky?fail=0.3", job_id=f"job {n}") for n in range(1000)]
    assert 230 < sum(reply.status == 500 for reply in replies) < 370


def test_flaky_draws_anew_for_each_attempt_and_repeats_itself() -> None:
    def outcomes(model: str) -> list[int]:
        return [ask(mock_shapes.CHAT, model, attempt=n).status for n in range(1, 30)]

    assert set(outcomes("flaky?fail=0.5")) == {200, 500}
    assert outcomes("flaky?fail=0.5&seed=1") == outcomes("flaky?fail=0.5&seed=1")
    assert outcomes("flaky?fail=0.5&seed=1") != outcomes("flaky?fail=0.5&seed=2")


@pytest.mark.parametrize("value", ["1", "-1", "1e9", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_the_retry_after_of_a_429_is_sent_as_it_stands(value: str) -> None:
    reply = ask(mock_shapes.CHAT, f"429?retry_after={value}")
    assert reply.status == 429
    assert dict(reply.headers)["retry-after"] == value


def test_a_429_without_the_option_has_no_retry_after() -> None:
    assert "retry-after" not in dict(ask(mock_shapes.CHAT, "429").headers)


def test_a_429_ends_after_the_attempts_it_is_limited_to() -> None:
    statuses = [ask(mock_shapes.CHAT, "429?times=2", attempt=n).status for n in (1, 2, 3)]
    assert statuses == [429, 429, 200]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (500, "server_error"),
        (529, "server_error"),
    ],
)
def test_error_answers_the_code_it_is_told_to(code: int, kind: str) -> None:
    reply = ask(mock_shapes.CHAT, f"error?code={code}")
    assert reply.status == code
    assert whole(reply)["error"]["type"] == kind


def test_an_unknown_model_is_a_404_that_names_the_known_ones() -> None:
    reply = ask(mock_shapes.CHAT, "gpt-9")
    assert reply.status == 404
    assert whole(reply)["error"]["code"] == "model_not_found"
    assert all(name in whole(reply)["error"]["message"] for name in mock.NAMES)


@pytest.mark.parametrize(
    "model",
    [
        "slow?seconds=x",
        "slow?seconds=nan",
        "slow?seconds=-1",
        "error?code=200",
        "embed?dim=0",
        "invalid?how=nicely",
        "429?retry_after=1%0d%0ax-evil:1",
        "hello?" + "&".join(f"o{n}=1" for n in range(20)),
    ],
)
def test_a_wrong_option_is_a_400(model: str) -> None:
    kind = mock_shapes.EMBEDDING if model.startswith("embed") else mock_shapes.CHAT
    assert ask(kind, model).status == 400


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff", b"[" * 200_000, b'{"input":5,"prompt":5,"messages":5}'],
)
def test_a_body_that_cannot_be_used_is_a_400(kind: str, body: bytes) -> None:
    reply = ask(kind, "echo", body)
    assert reply.status == 400
    assert whole(reply)["error"]["type"] == "invalid_request_error"


def test_a_request_for_too_many_numbers_is_a_400() -> None:
    body: dict[str, object] = {"input": ["a"] * 2048, "dimensions": 4096}
    assert ask(mock_shapes.EMBEDDING, "embed", body).status == 400


@pytest.mark.parametrize("how", ["html", "truncated", "empty", "utf8"])
def test_these_invalid_replies_are_no_json(how: str) -> None:
    reply = ask(mock_shapes.CHAT, f"invalid?how={how}")
    assert reply.status == 200
    with pytest.raises(ValueError):  # noqa: PT011 - whichever of the two decoders refuses
        json.loads(reply.body)


def test_these_invalid_replies_are_json_for_lenient_readers_only() -> None:
    assert b"NaN" in ask(mock_shapes.CHAT, "invalid?how=nan").body
    assert b'"\\ud800"' in ask(mock_shapes.CHAT, "invalid?how=surrogate").body
    with pytest.raises(RecursionError):
        whole(ask(mock_shapes.CHAT, "invalid?how=deep"))


@pytest.mark.parametrize(
    ("kind", "field"), list(zip(KINDS, ["choices", "choices", "output", "data"], strict=True))
)
def test_an_invalid_reply_can_lack_its_answer(kind: str, field: str) -> None:
    assert whole(ask(kind, "invalid?how=choices"))[field] == []


def test_an_invalid_reply_can_be_of_another_type() -> None:
    assert isinstance(whole(ask(mock_shapes.CHAT, "invalid?how=array")), list)
    assert set(whole(ask(mock_shapes.CHAT, "invalid?how=error"))) == {"error"}


@pytest.mark.parametrize("how", mock.INVALID)
def test_every_invalid_reply_has_status_200(how: str) -> None:
    assert ask(mock_shapes.CHAT, f"invalid?how={how}").status == 200
