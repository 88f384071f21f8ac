"""Replies of OpenAI-shaped upstreams (wire-contract 1.16 and 4.6)."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.failure import Failure
from hermod.domain.outcome import Answer, Fault, Outcome, Retryable
from hermod.domain.usage import Usage
from hermod.kinds.kind import AnyKind
from hermod.kinds.registry import KIND_BY_TYPE, KINDS
from hermod.providers.replies import parse_reply
from tests.kinds.recorded import recorded

CHAT = KIND_BY_TYPE["chat_completion"]
RESPONSES = KIND_BY_TYPE["responses"]
GOOD: dict[str, bytes] = {
    "chat_completion": b'{"choices":[{"message":{"role":"assistant","content":"hi"}}]}',
    "text_completion": b'{"choices":[{"text":"hi"}]}',
    "responses": b'{"output":[{"type":"message"}]}',
    "embedding": b'{"data":[{"embedding":[0.5]}]}',
    "transcription": b'{"text":""}',
    "image_generation": b'{"data":[{"url":"x"}]}',
    "image_edit": b'{"data":[{"url":"x"}]}',
    "image_variation": b'{"data":[{"url":"x"}]}',
    "rerank": b'{"results":[{"index":0}]}',
    "ocr": b'{"pages":[{"index":0}]}',
}
"""Speech is not here: it answers in bytes (test_openai_shaped_media.py)."""
JSON_TYPE = "application/json"
UNREADABLE = "failed to unmarshal response from provider API"
EMPTY = "empty response received from provider"
NOW_AT = 1_700_000_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.request_type)


def parse(
    body: bytes | object,
    status: int = 200,
    kind: AnyKind = CHAT,
    content_type: str | None = "application/json",
    retry_after: str | None = None,
) -> Outcome:
    """What a reply comes to; anything but bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_reply(
        kind, status, content_type, raw, retry_after,
        provider="openai", model="gpt-4", latency_ms=12, now_at=NOW_AT,
    )  # fmt: skip


def fault(
    body: bytes | object, status: int = 200, kind: AnyKind = CHAT, **headers: str | None
) -> Fault:
    """The same, which must have gone wrong."""
    outcome = parse(body, status, kind, **headers)
    assert isinstance(outcome, Fault)
    return outcome


def failure(
    body: bytes | object, status: int = 200, kind: AnyKind = CHAT, **headers: str | None
) -> Failure:
    """The failure in it."""
    return fault(body, status, kind, **headers).failure


# Answers


@each_kind
def test_the_recorded_reply_becomes_the_result_with_extra_fields(kind: AnyKind) -> None:
    recording = recorded(kind)
    reply, ending = recording.reply, b"\r\n " if recording.reply_type == JSON_TYPE else b""
    outcome = parse(reply + ending, kind=kind, content_type=recording.reply_type)
    assert isinstance(outcome, Answer)
    assert json.loads(outcome.body) == recording.result | {
        "extra_fields": {
            "request_type": kind.request_type,
            "provider": "openai",
            "model_requested": "gpt-4",
            "original_model_requested": "gpt-4",
            "resolved_model_used": "gpt-4",
            "latency": 12,
            "chunk_index": 0,
        }
    }


def test_the_upstreams_bytes_stay_as_they_are() -> None:
    body = b'{"choices":[ {"x":1.0e0}],  "n":1e999999,"a":"\\u00e9\\/" }'
    outcome = parse(body)
    assert isinstance(outcome, Answer)
    assert outcome.body.startswith(body[:-1] + b',"extra_fields":{"request_type":')


def test_the_upstreams_own_extra_fields_are_replaced() -> None:
    outcome = parse(b'{"choices":[{}],"extra_fields":{"x":1},"a":1.0}')
    assert isinstance(outcome, Answer)
    assert outcome.body.startswith(b'{"choices":[{}],"a":1.0,"extra_fields":{"request_type"')
    assert b'"x"' not in outcome.body


def test_names_are_escaped_in_extra_fields() -> None:
    outcome = parse_reply(
        CHAT, 200, None, GOOD["chat_completion"], None,
        provider="p", model='a"\n\u2028</script>', latency_ms=0, now_at=NOW_AT,
    )  # fmt: skip
    assert isinstance(outcome, Answer)
    assert json.loads(outcome.body)["extra_fields"]["model_requested"] == 'a"\n\u2028</script>'


@pytest.mark.parametrize(("status", "content_type"), [(200, None), (201, "text/html"), (202, "x")])
@pytest.mark.parametrize("request_type", GOOD)
def test_an_acceptable_body_is_an_answer_whatever_its_label(
    request_type: str, status: int, content_type: str | None
) -> None:
    kind = KIND_BY_TYPE[request_type]
    assert isinstance(parse(GOOD[request_type], status, kind, content_type), Answer)


@pytest.mark.parametrize(
    "beside",
    [
        b'"error":null',
        b'"error":{ }',
        b'"error":""',
        b'"error":false',
        b'"detail":"x","message":"y"',
        b'"object":"error?"',
    ],
)
def test_an_answer_with_a_hollow_error_is_an_answer(beside: bytes) -> None:
    assert isinstance(parse(b'{"choices":[{}],%b}' % beside), Answer)


def test_a_response_without_items_is_an_answer() -> None:
    assert isinstance(parse({"output": [], "status": "incomplete"}, kind=RESPONSES), Answer)


# 2xx that is no answer


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", EMPTY),
        (b" \r\n", EMPTY),
        (b"<!DOCTYPE html><p>It works!", "HTML response received from provider"),
        (b"  <html></html>", "HTML response received from provider"),
        (b"OK", UNREADABLE),
        (b'data: {"choices":[{}]}\n\n', UNREADABLE),
        (b"null", UNREADABLE),
        (b"[]", UNREADABLE),
        (b'[{"choices":[{}]}]', UNREADABLE),
        (b"{}", UNREADABLE),
        (b'{"choices":', UNREADABLE),
        (b'{"choices":[{}]', UNREADABLE),
        (b'{"choices":[{}]}}', UNREADABLE),
        (b'{"choices":[{}]}\0', UNREADABLE),
        (b'\xef\xbb\xbf{"choices":[{}]}', UNREADABLE),
        (b'{"choices":[{}],"x":NaN}', UNREADABLE),
        (b'{"choices":[{}],"x":-Infinity}', UNREADABLE),
        (b'{"choices":[{}],"x":"\xc3("}', UNREADABLE),
        (b'{"choices":[{}],"x":"\\ud800"}', UNREADABLE),
        (b'{"choices":[{}],"x":"\n"}', UNREADABLE),
        (b'{"choices":[{}],"x":' + b"[" * 256 + b"]" * 256 + b"}", UNREADABLE),
        (b'{"choices":[{}],"x":' + b"[" * 200_000, UNREADABLE),
        (b'{"choices":null}', UNREADABLE),
        (b'{"choices":{"0":{}}}', UNREADABLE),
        (b'{"choices":"hi"}', UNREADABLE),
        (b'{"choices":[null]}', UNREADABLE),
        (b'{"choices":["hi"]}', UNREADABLE),
        (b'{"data":[{}]}', UNREADABLE),
        (b'{"choices":[]}', EMPTY),
        (b'{"choices":[ \n]}', EMPTY),
        (b'{"choices":[{}],"choices":[]}', EMPTY),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_a_success_without_an_answer_is_a_fault(body: bytes, message: str) -> None:
    outcome = fault(body)
    assert outcome.failure.message == message
    assert outcome.failure.status_code is None
    assert outcome.failure.error_type == "upstream_invalid"
    assert outcome.failure.from_gateway is False
    assert outcome.retryable is Retryable.NO


@each_kind
def test_every_kind_needs_its_essential_member(kind: AnyKind) -> None:
    assert failure(b'{"id":"x"}', kind=kind).message == UNREADABLE


def test_nesting_up_to_256_levels_is_accepted() -> None:
    assert isinstance(parse(b'{"choices":[{}],"x":' + b"[" * 255 + b"]" * 255 + b"}"), Answer)


def test_what_cannot_be_read_is_said_in_the_cause() -> None:
    assert failure(b'{"choices":').cause == "Input data was truncated"
    assert failure(b"{}").cause == "`choices` is not an array of objects"
    assert failure(b"\xff").cause == "invalid UTF-8"


def test_html_is_shown_in_the_cause() -> None:
    body = b"<html><script>alert(1)</script>\x00\xff"
    assert failure(body).cause == "<html><script>alert(1)</script>\x00\ufffd"


def test_html_is_known_by_its_content_type_too() -> None:
    found = failure(b"It works!", content_type="Text/HTML; charset=utf-8")
    assert found.message == "HTML response received from provider"


@pytest.mark.parametrize("beside", [b"", b',"choices":[{}]', b',"choices":[]'])
def test_an_error_object_with_200_is_a_fault(beside: bytes) -> None:
    error = b'{"message":"out of memory","type":"server_error","code":"oom","param":"n"}'
    outcome = fault(b'{"error":%b%b}' % (error, beside))
    assert outcome.retryable is Retryable.NO
    assert outcome.failure == Failure(
        "out of memory", error_type="upstream_invalid", code="oom", param="n",
        provider="openai", model="gpt-4", request_type="chat_completion",
    )  # fmt: skip


def test_an_error_object_with_200_shows_its_type_where_it_has_no_code() -> None:
    assert failure({"error": {"message": "m", "type": "server_error"}}).code == "server_error"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"error": "no such model"}, "no such model"),
        ({"object": "error", "message": "m", "type": "t", "code": 1}, "m"),
        ({"error": {"foo": 1}}, UNREADABLE),
    ],
)
def test_other_error_shapes_with_200_are_faults(body: object, message: str) -> None:
    found = failure(body)
    assert found.message == message
    assert found.error_type == "upstream_invalid"


def test_a_failed_response_is_a_fault() -> None:
    error = b'{"code":"server_error","message":"sorry"}'
    found = failure(b'{"status":"failed","output":[],"error":%b}' % error, kind=RESPONSES)
    assert (found.message, found.code) == ("sorry", "server_error")


@pytest.mark.parametrize(
    ("code", "retryable"),
    [(429, Retryable.RATE_LIMITED), ("503", Retryable.BACKOFF), (402, Retryable.OTHER_KEY)],
)
def test_an_http_status_inside_a_200_error_counts_as_the_status(
    code: object, retryable: Retryable
) -> None:
    outcome = fault({"error": {"message": "m", "code": code}})
    assert outcome.failure.status_code == int(str(code))
    assert outcome.failure.code == str(code)
    assert outcome.retryable is retryable


@pytest.mark.parametrize("code", [0, 200, 600, 1e999, True, "oom", "4290", "²²²", None, [429]])
def test_other_codes_inside_a_200_error_are_no_status(code: object) -> None:
    body = json.dumps({"error": {"message": "m", "code": code}}).replace("Infinity", "1e999")
    assert failure(body.encode()).status_code is None


# Neither 2xx nor an error


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 399])
def test_a_redirect_is_a_fault(status: int) -> None:
    outcome = fault(GOOD["chat_completion"], status, retry_after="5")
    assert outcome.failure.message == "unexpected redirect"
    assert outcome.failure.status_code is None
    assert outcome.failure.error_type == "upstream_invalid"
    assert outcome.retryable is Retryable.NO


@pytest.mark.parametrize("status", [0, 100, 199, 600, 999])
def test_a_status_beyond_http_is_a_fault_without_status(status: int) -> None:
    outcome = fault(GOOD["chat_completion"], status)
    assert outcome.failure.status_code is None
    assert outcome.retryable is Retryable.NO


# 4xx and 5xx


def test_a_json_error_is_copied() -> None:
    body = {
        "event_id": "ev_1",
        "error": {
            "message": "Invalid 'n'",
            "type": "invalid_request_error",
            "code": 17,
            "param": {"path": ["n", 1.5]},
        },
    }
    assert failure(body, 400) == Failure(
        "Invalid 'n'",
        status_code=400,
        error_type="invalid_request_error",
        code="17",
        param={"path": ["n", 1.5]},
        event_id="ev_1",
        provider="openai",
        model="gpt-4",
        request_type="chat_completion",
    )


def test_a_json_error_is_copied_whatever_its_label() -> None:
    assert failure({"error": {"message": "m"}}, 500, content_type="text/html").message == "m"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"error": {"message": "m", "code": None, "param": None, "type": None}}, {}),
        ({"error": {"message": "m", "code": "c"}}, {"code": "c"}),
        ({"error": {"message": "m", "code": 0}}, {"code": "0"}),
        ({"error": {"message": "m", "code": 4.5}}, {"code": "4.5"}),
        ({"error": {"message": "m", "code": True}}, {"code": "true"}),
        ({"error": {"message": "m", "type": ""}}, {}),
        ({"error": {"message": "m", "type": 5}}, {"error_type": "5"}),
        ({"error": {"message": "m", "event_id": "e"}}, {"event_id": "e"}),
        ({"error": {"message": "m", "status": "INVALID"}}, {"error_type": "INVALID"}),
        ([{"error": {"message": "m", "code": 400}}], {"code": "400"}),
        ({"error": "m"}, {}),
        ({"error": "m", "error_type": "validation"}, {"error_type": "validation"}),
        ({"error": "Bad Request", "message": "m", "status": 400}, {}),
        ({"message": "m"}, {}),
        ({"message": {"detail": "m"}, "object": "error"}, {}),
        ({"object": "error", "message": "m", "type": "t", "param": None, "code": 40303},
         {"error_type": "t", "code": "40303"}),
        ({"detail": "m"}, {}),
        ({"detail": {"message": "m", "x": 1}}, {}),
        ({"msg": "m"}, {}),
        ({"errors": ["m"]}, {}),
        ({"errors": [{"code": 7003, "message": "m"}]}, {"code": "7003"}),
        ({"title": "m", "status": 400}, {}),
        ({"error": {"error": {"message": "m"}}}, {}),
    ],
)  # fmt: skip
def test_the_error_shapes_of_similar_servers_are_read(
    error: object, expected: dict[str, str]
) -> None:
    found = failure(error, 422)
    assert found == Failure(
        "m",
        status_code=422,
        error_type=expected.get("error_type"),
        code=expected.get("code"),
        event_id=expected.get("event_id"),
        provider="openai",
        model="gpt-4",
        request_type="chat_completion",
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            {"detail": [{"loc": ["body", "n", 0], "msg": "wrong"}, {"msg": "bad"}, "worse"]},
            "body.n.0: wrong; bad; worse",
        ),
        ({"errors": ["a", {"message": "b"}]}, "a; b"),
        ({"error": {"message": ["a", 1]}}, "a; 1"),
        ({"error": {"message": {"x": 1}}}, '{"x":1}'),
        ({"error": {"message": "\x1b[31m\x00\u2028"}}, "\x1b[31m\x00\u2028"),
    ],
)
def test_a_message_in_pieces_is_put_together(body: object, message: str) -> None:
    assert failure(body, 422).message == message


SILENT = [
    (401, "authentication failed: unauthorized (401) - check your API key"),
    (
        403,
        "access forbidden (403) - your API key may not have permission for this operation",
    ),
    (404, "resource not found (404)"),
    (429, "rate limit exceeded (429)"),
    (500, "provider server error (500)"),
    (502, "provider server error (502)"),
    (503, "provider server error (503)"),
    (504, "provider server error (504)"),
    (400, "empty response received from provider (HTTP 400)"),
    (418, "empty response received from provider (HTTP 418)"),
    (529, "empty response received from provider (HTTP 529)"),
]


@pytest.mark.parametrize(("status", "message"), SILENT)
@pytest.mark.parametrize("body", [b"", b" \r\n"])
def test_an_error_without_a_body_is_put_into_words(status: int, message: str, body: bytes) -> None:
    found = failure(body, status)
    assert (found.message, found.status_code) == (message, status)


@pytest.mark.parametrize(("status", "message"), SILENT)
def test_an_error_without_a_message_is_put_into_words_too(status: int, message: str) -> None:
    found = failure({"error": {"type": "t", "message": ""}}, status)
    assert (found.message, found.error_type) == (message, "t")


def test_an_html_error_is_shown_in_the_cause() -> None:
    found = failure(b"<html>Bad gateway</html>", 502)
    assert found.message == "HTML response received from provider"
    assert found.cause == "<html>Bad gateway</html>"
    assert found.status_code == 502


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"Bad gateway\n", "Bad gateway"),
        (b'{"error":', '{"error":'),
        (b'"text"', '"text"'),
        (b"[]", "[]"),
        (b"{}", "{}"),
        (b'{"foo":1}', '{"foo":1}'),
        (b'{"error":{"message":NaN}}', '{"error":{"message":NaN}}'),
        (b"\xff\x00\x1b[1m", "\ufffd\x00\x1b[1m"),
    ],
)
def test_another_error_body_is_shown_in_the_message(body: bytes, shown: str) -> None:
    found = failure(body, 502)
    assert (found.message, found.status_code) == (f"provider API error: {shown}", 502)


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 10_000_000,
        b"<html>" + b"x" * 10_000_000,
        b'{"error":{"message":"%s"}}' % (b"x" * 100_000),
        b'{"error":{"message":"%s"}}' % (b"x" * 10_000_000),
        b'{"error":{"message":"m","type":"%s","code":"%s"}}' % (b"x" * 50_000, b"y" * 50_000),
        b'{"error":{"message":"m","param":"%s"}}' % (b"x" * 100_000),
        b'{"error":{"message":"m","param":%s}}' % (b"9" * 10_000),
        b'{"error":{"message":%s}}' % (b"[" * 250 + b"]" * 250),
        b'{"error":%s}' % (b'{"message":' * 250 + b"1" + b"}" * 250),
        b'{"error":%s}' % (b'{"error":' * 250 + b"1" + b"}" * 250),
        b'{"error":%s}' % (b'{"errors":[{"loc":["x"],"msg":' * 15 + b"1" + b"}]}" * 15),
        b'{"error":{"message":"m","param":%s}}' % (b"9" * 1000),
        b'{"error":{"message":"m","param":1e999}}',
        "😀".encode() * 1_000_000,
    ],
    ids=lambda body: repr(body[:40]),
)
@pytest.mark.parametrize("status", [200, 400])
def test_a_large_or_strange_error_stays_small(body: bytes, status: int) -> None:
    assert len(failure(body, status).to_json()) < 40_000


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (400, Retryable.NO),
        (401, Retryable.OTHER_KEY),
        (402, Retryable.OTHER_KEY),
        (403, Retryable.OTHER_KEY),
        (404, Retryable.NO),
        (408, Retryable.BACKOFF),
        (409, Retryable.NO),
        (413, Retryable.NO),
        (422, Retryable.NO),
        (429, Retryable.RATE_LIMITED),
        (499, Retryable.NO),
        (500, Retryable.BACKOFF),
        (501, Retryable.NO),
        (502, Retryable.BACKOFF),
        (503, Retryable.BACKOFF),
        (504, Retryable.BACKOFF),
        (505, Retryable.NO),
        (529, Retryable.BACKOFF),
    ],
)
@pytest.mark.parametrize("body", [b"", b'{"error":{"message":"m"}}', b"<html>", b"text"])
def test_the_status_says_whether_a_retry_can_help(
    status: int, retryable: Retryable, body: bytes
) -> None:
    outcome = fault(body, status)
    assert outcome.retryable is retryable
    assert outcome.failure.status_code == status
    assert outcome.sent is True


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (503, {"message": "Rate limit reached for requests"}),
        (500, {"message": "Too many requests, slow down"}),
        (403, {"message": "Quota exceeded for quota metric"}),
        (403, {"message": "Request was throttled."}),
        (529, {"message": "10 requests per minute"}),
        (500, {"message": "daily limit exceeded"}),
        (400, {"message": "m", "type": "ThrottlingException"}),
        (400, {"message": "m", "code": "rate_limit_exceeded"}),
        (400, {"message": "m", "code": "RateLimitExceeded"}),
        (422, {"message": "m", "type": "too_many_requests"}),
        (200, {"message": "m", "code": "rate_limit_exceeded"}),
        (200, {"message": "Rate limit exceeded"}),
    ],
)
def test_an_error_that_speaks_of_a_rate_limit_is_one(status: int, error: object) -> None:
    assert fault({"error": error}, status).retryable is Retryable.RATE_LIMITED


def test_a_plain_text_that_speaks_of_a_rate_limit_is_one() -> None:
    assert fault(b"Too Many Requests", 503).retryable is Retryable.RATE_LIMITED


@pytest.mark.parametrize("status", [400, 401, 402, 404, 413, 422])
def test_a_callers_mistake_is_no_rate_limit_because_of_its_words(status: int) -> None:
    error = {"message": "maximum context length limit exceeded", "type": "invalid_request_error"}
    assert fault({"error": error}, status).retryable is not Retryable.RATE_LIMITED


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        ("5", 5.0),
        (" 7 ", 7.0),
        ("1.5", 1.5),
        ("1000000000", 1e9),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tuesday, 14-Nov-23 22:14:20 GMT", 60.0),
        ("Tue Nov 14 22:14:20 2023", 60.0),
        ("Tue, 14 Nov 2023 23:14:20 +0100", 60.0),
        ("Tue, 14 Nov 2023 22:00:00 GMT", 0.0),
        ("Wed, 01 Jan 1800 00:00:00 GMT", 0.0),
        ("-1", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("soon", None),
        ("5 s", None),
        ("9" * 5000, None),
        ("Tue, 99 Nov 2023 22:14:20 GMT", None),
        ("Tue, 14 Nov 99999999999999 22:14:20 GMT", None),
        ("Tue, 14 Nov 2023 22:14:20 +99999999", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert fault(b"", 429, retry_after=header).retry_after_s == seconds


def test_retry_after_counts_for_every_error_a_retry_can_help() -> None:
    assert fault(b"", 503, retry_after="5").retry_after_s == 5.0
    assert fault(b"", 400, retry_after="5").retry_after_s is None


MEMBERS = st.sampled_from(
    ["error", "choices", "output", "data", "message", "detail", "errors", "object", "extra_fields"]
)
JSON = st.recursive(
    st.sampled_from([None, True, 0, 429, 1.5, 10**30, "", "error", "\u2028\0"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["message", "code", "type", "loc", "msg", "error"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=50)
@given(
    st.binary(max_size=300)
    | st.dictionaries(MEMBERS, JSON, max_size=4).map(lambda value: json.dumps(value).encode()),
    st.sampled_from([200, 204, 302, 400, 401, 429, 500, 503, 777]),
    st.sampled_from(KINDS),
    st.none() | st.text(max_size=20),
)
def test_any_reply_has_an_outcome_that_can_be_stored(
    body: bytes, status: int, kind: AnyKind, header: str | None
) -> None:
    outcome = parse(body, status, kind, content_type=header, retry_after=header)
    if isinstance(outcome, Answer):
        assert json.loads(outcome.body)["extra_fields"]["provider"] == "openai"
    else:
        assert json.loads(outcome.failure.to_json())["is_bifrost_error"] is False


@pytest.mark.parametrize(("price", "shown"), [(1250, {"cost_usd_nanos": 1250}), (None, {})])
def test_the_cost_of_an_answer_is_shown_beside_it(price: int | None, shown: dict[str, int]) -> None:
    body = {"choices": [{"text": "x"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    seen: list[Usage | None] = []

    def priced(usage: Usage | None) -> int | None:
        seen.append(usage)
        return price

    outcome = parse_reply(
        KIND_BY_TYPE["text_completion"],
        200,
        "application/json",
        json.dumps(body).encode(),
        None,
        provider="openai",
        model="m",
        latency_ms=1,
        now_at=0,
        price=priced,
    )
    assert isinstance(outcome, Answer)
    extra_fields = json.loads(outcome.body)["extra_fields"]
    assert {name: extra_fields[name] for name in extra_fields if "cost" in name} == shown
    assert outcome.cost_usd_nanos == price
    assert seen == [Usage(3, 4)]
