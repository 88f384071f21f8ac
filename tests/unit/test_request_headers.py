"""http/request_headers.py: what the headers of a request ask for (wire-contract 2)."""

import pytest

from hermod.domain.errors import Refused
from hermod.domain.forwarding import HeaderFilter, Names
from hermod.domain.job import OnUnknown
from hermod.domain.options import NO_OPTIONS, Options
from hermod.http.request_headers import (
    NO_HEADERS,
    HeaderRules,
    RequestHeaders,
    missing,
    read_headers,
)

COMMON = (
    (b"host", b"127.0.0.1:8080"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"curl/8"),
    (b"authorization", b"Bearer sk-dummy"),
    (b"content-length", b"2"),
)
RULES = HeaderRules()
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def read(*lines: str, rules: HeaderRules = RULES, is_async: bool = True) -> RequestHeaders:
    """What a request with these header lines asks for."""
    pairs = [line.split(":", 1) for line in lines]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in pairs]
    return read_headers([*COMMON, *headers], rules, is_async=is_async)


def options(*lines: str, rules: HeaderRules = RULES) -> Options:
    """What of it the job keeps."""
    return read(*lines, rules=rules).options


def test_a_common_request_asks_for_nothing() -> None:
    assert read() is NO_HEADERS
    assert read("x-custom: 1", "x-bf-vk: sk-bf-1", "x-bf-whatever: 1") == NO_HEADERS


def test_what_submit_needs_is_no_option() -> None:
    found = read("x-bf-async-job-result-ttl: 60", "x-request-id: r-1", "x-hermod-on-unknown: FAIL")
    assert found == RequestHeaders("60", "r-1", OnUnknown.FAIL)
    assert found.options is NO_OPTIONS


def test_of_two_values_the_last_one_counts() -> None:
    assert read("x-request-id: a", "x-request-id: b").request_id == "b"


@pytest.mark.parametrize("value", ["", "   ", "x" * 257, "a\tb", "a\x01b", "a\x85b"])
def test_a_request_id_that_cannot_be_shown_is_dropped(value: str) -> None:
    assert read(f"x-request-id: {value}") == NO_HEADERS


def test_a_request_id_may_be_any_text() -> None:
    assert read('x-request-id: id "1" <ü>').request_id == 'id "1" <ü>'


def test_an_unknown_word_for_unknown_outcomes_is_refused() -> None:
    with pytest.raises(Refused, match="x-hermod-on-unknown must be retry or fail") as refused:
        read("x-hermod-on-unknown: maybe")
    assert refused.value.failure.status_code == 400


def test_there_are_no_webhook_endpoints_yet() -> None:
    with pytest.raises(Refused) as refused:
        read('x-bf-async-webhook: my "w"')
    assert refused.value.failure.status_code == 400
    assert refused.value.failure.message == (
        "invalid webhook endpoint reference: unknown webhook endpoint with name "
        r'"my \"w\""'
    )


def test_a_webhook_is_only_for_jobs() -> None:
    assert read("x-bf-async-webhook: w", is_async=False) == NO_HEADERS
    assert read("x-bf-async-webhook:") == NO_HEADERS


def test_an_integration_route_is_asked_for_a_job_or_for_its_answer() -> None:
    assert read("x-bf-async: true").wants_job
    assert read("x-bf-async: 0").wants_job
    assert not read("x-bf-async: ").wants_job
    assert read("x-bf-async-id: abc").job_id == "abc"
    assert read("x-bf-async-id: ").job_id == ""


@pytest.mark.parametrize(
    ("value", "asked"), [("true", True), ("TRUE", True), ("false", False), ("1", False)]
)
def test_unknown_fields_go_upstream_when_that_is_asked_for(value: str, asked: bool) -> None:
    assert options(f"x-bf-passthrough-extra-params: {value}") == Options(passthrough=asked)


FLAGS = {
    "x-bf-send-back-raw-request": "raw_request",
    "x-bf-send-back-raw-response": "raw_response",
    "x-bf-store-raw-request-response": "store_raw",
    "x-bf-disable-content-logging": "disable_content_logging",
}


@pytest.mark.parametrize("header", FLAGS)
@pytest.mark.parametrize(
    ("value", "flag"), [("true", True), ("False", False), ("yes", None), ("", None)]
)
def test_a_switch_is_true_or_false_or_not_touched(
    header: str, value: str, flag: bool | None
) -> None:
    assert options(f"{header}: {value}") == Options()._replace(**{FLAGS[header]: flag})


TEXTS = {
    "x-bf-api-key": "key_name",
    "x-bf-api-key-id": "key_id",
    "x-bf-session-id": "session_id",
    "x-bf-parent-request-id": "parent_request_id",
}


@pytest.mark.parametrize("header", TEXTS)
def test_a_text_is_kept_unless_it_is_empty(header: str) -> None:
    assert options(f"{header}:  a b ") == Options()._replace(**{TEXTS[header]: "a b"})
    assert options(f"{header}: ") == NO_OPTIONS


@pytest.mark.parametrize(
    ("value", "ttl_s"),
    [
        ("90", 90.0), ("30m", 1800.0), ("1h30m", 5400.0), ("+5", 5.0), ("0", None), ("-5s", None),
        ("soon", None), ("", None), ("0s", None), ("9" * 19, None), ("9" * 400, None),
        ("1.5", None),
    ],
)  # fmt: skip
def test_a_session_lasts_a_duration_or_seconds(value: str, ttl_s: float | None) -> None:
    assert options(f"x-bf-session-ttl: {value}") == Options(session_ttl_s=ttl_s)


# Headers for the upstream


def test_prefixed_headers_are_forwarded_in_order_with_their_repeats() -> None:
    found = options("x-bf-eh-x-b: 1", "x-bf-eh-anthropic-beta: a", "x-bf-eh-x-b: 2")
    assert found.forward == (("x-b", "1"), ("anthropic-beta", "a"), ("x-b", "2"))


@pytest.mark.parametrize("name", ["authorization", "x-bf-vk", "host", "content-type", "cookie"])
def test_a_refused_name_is_passed_over_in_silence(name: str) -> None:
    assert options(f"x-bf-eh-{name}: v") == NO_OPTIONS


def test_a_prefix_without_a_name_says_nothing() -> None:
    assert read("x-bf-eh-: v", "x-bf-lh-: v", "x-bf-dim-: v", "x-bf-eh: v") == NO_HEADERS


def test_an_allowed_header_is_forwarded_without_the_prefix() -> None:
    rules = HeaderRules(HeaderFilter(Names.of(["anthropic-*", "user-agent", "x-request-id"])))
    found = read("anthropic-beta: a", "x-bf-eh-anthropic-x: b", "x-request-id: r", rules=rules)
    assert found.options.forward == (
        ("user-agent", "curl/8"),
        ("anthropic-beta", "a"),
        ("anthropic-x", "b"),
        ("x-request-id", "r"),
    )
    assert found.request_id == "r"


def test_a_list_that_allows_everything_keeps_credentials_here() -> None:
    rules = HeaderRules(HeaderFilter(Names.of(["*"])))
    found = options("x-api-key: k", "api-key: k", "x-bf-vk: k", "x-mine: 1", rules=rules)
    assert found.forward == (
        ("accept", "application/json"),
        ("user-agent", "curl/8"),
        ("x-mine", "1"),
    )


def test_a_value_with_a_control_character_is_no_header() -> None:
    headers = [(b"x-bf-eh-a", b"1\r\nx: 2"), (b"x-bf-lh-a", b"\x00"), (b"x-bf-api-key", b"a\x7f")]
    assert read_headers(headers, RULES) == NO_HEADERS


# Labels


def test_labels_are_kept() -> None:
    assert options("x-bf-lh-team: blü", "x-bf-lh-n: ").labels == {"team": "blü", "n": ""}


def test_headers_the_operator_named_become_labels() -> None:
    rules = HeaderRules(logged=["X-Team", "User-Agent", "authorization", "x-bf-vk"])
    found = options("x-team: blue", "x-bf-vk: k", rules=rules)
    assert found.labels == {"user-agent": "curl/8", "x-team": "blue"}


def test_a_label_of_the_callers_wins_over_a_header_of_that_name() -> None:
    rules = HeaderRules(logged=["x-team"])
    assert options("x-bf-lh-x-team: a", "x-team: b", rules=rules).labels == {"x-team": "a"}


def test_dimensions_are_kept_but_the_reserved_ones() -> None:
    found = options("x-bf-dim-env: prod", "x-bf-dim-path: /", "x-bf-dim-method: GET")
    assert found == Options(dimensions={"env": "prod"})


def test_only_known_prometheus_labels_are_kept_and_a_dimension_wins() -> None:
    rules = HeaderRules(prometheus_labels=["Team", "env"])
    found = options(
        "x-bf-dim-env: a", "x-bf-prom-env: b", "x-bf-prom-team: c", "x-bf-prom-x: d", rules=rules
    )
    assert found.dimensions == {"env": "a", "team": "c"}


# Tracing


@pytest.mark.parametrize(
    "value",
    [f"00-{TRACE}-00f067aa0ba902b7-01", f"01-{TRACE}-00f067aa0ba902b7-01-more"],
)
def test_a_trace_is_kept(value: str) -> None:
    assert options(f"traceparent: {value}") == Options(traceparent=value)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE}-00f067aa0ba902b7-01-more",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
    ],
)
def test_what_is_no_trace_is_dropped(value: str) -> None:
    assert options(f"traceparent: {value}") == NO_OPTIONS


@pytest.mark.parametrize("value", ["session-id=a1", "a=1;p;q=2 , b=%20", "a="])
def test_baggage_is_kept(value: str) -> None:
    assert options(f"baggage: {value}") == Options(baggage=value)


@pytest.mark.parametrize("value", ["", "a", "=1", "a=1,", 'a="1"', "a=b c", "a=" + "1" * 8192])
def test_what_is_no_baggage_is_dropped(value: str) -> None:
    assert options(f"baggage: {value}") == NO_OPTIONS


# Headers that must be there


def test_required_headers_that_are_missing_are_named_as_the_operator_spelt_them() -> None:
    rules = HeaderRules(required=["X-Team", "User-Agent", "x-b"])
    assert read(rules=rules).options == Options(missing_headers=("X-Team", "x-b"))
    assert read("x-team: 1", "x-b:", rules=rules) == NO_HEADERS


def test_nothing_is_missing_where_nothing_is_required() -> None:
    assert missing(COMMON, ()) == ()
