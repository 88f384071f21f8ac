"""Requests to OpenAI-shaped upstreams: everything goes on as it came (design.md 8, 4 and 5)."""

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod import __version__
from hermod.domain.provider import Auth, Row
from hermod.kinds.chat_completion import CHAT_COMPLETION as CHAT
from hermod.kinds.kind import AnyKind, JsonKind
from hermod.kinds.registry import KINDS
from hermod.kinds.responses import RESPONSES
from hermod.providers.adapter import Outgoing
from hermod.providers.openai_shaped import build, build_body
from hermod.providers.prepare import build_headers, key_header
from hermod.providers.registry import load_rows
from tests.kinds.recorded import parts_of, recorded, sent_model

ROWS = load_rows()
BEARER = key_header(Auth.BEARER, "sk-1")

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.request_type)


@each_kind
@pytest.mark.parametrize("forward_unknown", [True, False])
def test_the_recorded_request_is_sent_as_recorded(kind: AnyKind, forward_unknown: bool) -> None:
    recording = recorded(kind)
    outgoing = Outgoing(
        recording.body, recording.content_type, sent_model(recording), forward_unknown, "a-new-one"
    )
    prepared = build(kind, outgoing)
    content_type, body = prepared.content_type, prepared.body
    if recording.content_type is None:
        assert content_type == "application/json"
        assert list(json.loads(body).items()) == list(recording.sent.items())
    else:
        assert "a-new-one" in content_type
        assert parts_of(body, content_type) == recording.sent


def test_values_are_sent_byte_for_byte() -> None:
    values = b'{"z":[1.0,1e999999,-0.0, 123456789012345678901234567890],"a":"\\u00e9\xc3\xa9\\/"}'
    body = b'{"model":"openai/x","zz": %s ,"messages":[{"role":"u"}]}' % values
    sent = build_body(CHAT, body, "x", forward_unknown=True)
    assert sent == b'{"model":"x","zz":%s,"messages":[{"role":"u"}]}' % values


def test_the_model_keeps_its_place_and_is_escaped() -> None:
    body = b'{"user":"a","model":"openai/a\\"b","seed":1}'
    assert build_body(CHAT, body, 'a"b', forward_unknown=True) == (
        b'{"user":"a","model":"a\\"b","seed":1}'
    )


def test_unknown_fields_are_dropped_only_when_asked_to() -> None:
    body = b'{"model":"openai/x","messages":[],"top_k":5,"MODEL":1}'
    assert json.loads(build_body(CHAT, body, "x", forward_unknown=True)) == {
        "model": "x", "messages": [], "top_k": 5, "MODEL": 1,
    }  # fmt: skip
    assert json.loads(build_body(CHAT, body, "x", forward_unknown=False)) == {
        "model": "x", "messages": [],
    }  # fmt: skip


def test_background_is_never_sent_with_responses() -> None:
    body = b'{"model":"openai/x","input":"","background":true}'
    assert b"background" not in build_body(RESPONSES, body, "x", forward_unknown=True)


def test_background_is_an_unknown_field_of_a_chat() -> None:
    body = b'{"model":"openai/x","messages":[],"background":true}'
    assert b"background" in build_body(CHAT, body, "x", forward_unknown=True)


def test_of_duplicate_members_only_the_one_that_was_checked_is_sent() -> None:
    body = b'{"model":"openai/x","fallbacks":["a"],"model":"mock/y","fallbacks":["b"]}'
    assert build_body(CHAT, body, "y", forward_unknown=True) == b'{"model":"y"}'


# What a provider's row changes


def row(
    drops: Collection[str] = (),
    renames: Mapping[str, str] | None = None,
    roles: Mapping[str, str] | None = None,
) -> Row:
    """A row of the table with these members."""
    return replace(ROWS["vllm"], drops=frozenset(drops), renames=renames or {}, roles=roles or {})


def sent_with(kind: JsonKind, members: dict[str, object], **to_row: Any) -> dict[str, object]:
    """What a request with these members becomes by such a row."""
    body = json.dumps({"model": "vllm/x", **members}).encode()
    found = json.loads(build_body(kind, body, "x", forward_unknown=True, row=row(**to_row)))
    del found["model"]
    return found


def test_a_field_that_is_dropped_is_gone_whatever_it_says() -> None:
    asked: dict[str, object] = {"store": None, "user": "u", "seed": 1}
    assert sent_with(CHAT, asked, drops=["store", "user"]) == {"seed": 1}


def test_a_renamed_field_keeps_its_value_byte_for_byte() -> None:
    body = b'{"model":"vllm/x","max_completion_tokens":1e2}'
    renames = {"max_completion_tokens": "max_tokens"}
    sent = build_body(CHAT, body, "x", forward_unknown=True, row=row(renames=renames))
    assert b'"max_tokens":1e2' in sent


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"max_tokens": 5}, {"max_tokens": 5}),
        ({"max_tokens": 5, "max_completion_tokens": 7}, {"max_tokens": 7}),
        ({"max_tokens": 5, "max_completion_tokens": None}, {"max_tokens": 5}),
        ({"max_completion_tokens": None}, {"max_tokens": None}),
    ],
)
def test_of_the_two_limits_the_newer_counts(
    asked: dict[str, object], sent: dict[str, object]
) -> None:
    assert sent_with(CHAT, asked, renames={"max_completion_tokens": "max_tokens"}) == sent


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        ({"reasoning": {"effort": "low"}}, {"reasoning_effort": "low"}),
        ({"reasoning": {"effort": "low", "max_tokens": None}}, {"reasoning_effort": "low"}),
        (
            {"reasoning": {"effort": "low", "max_tokens": 9}},
            {"reasoning_effort": "low", "reasoning": {"max_tokens": 9}},
        ),
        ({"reasoning": {"max_tokens": 9}}, {"reasoning": {"max_tokens": 9}}),
        ({"reasoning": {"effort": None}}, {}),
        ({"reasoning": None}, {}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low"}),
    ],
)
def test_the_effort_of_a_chat_gets_a_name_of_its_own(
    asked: dict[str, object], sent: dict[str, object]
) -> None:
    assert sent_with(CHAT, asked, renames={"reasoning.effort": "reasoning_effort"}) == sent


def test_the_effort_of_a_response_stays_where_it_is() -> None:
    asked: dict[str, object] = {"input": "", "reasoning": {"effort": "low"}}
    renames = {"reasoning.effort": "reasoning_effort"}
    assert sent_with(RESPONSES, asked, renames=renames) == asked


def test_a_role_that_is_not_known_there_gets_its_other_name() -> None:
    asked: dict[str, object] = {
        "messages": [
            {"role": "developer", "content": "developer"},
            {"role": "user", "content": '"developer"', "name": "developer"},
        ]
    }
    assert sent_with(CHAT, asked, roles={"developer": "system"}) == {
        "messages": [
            {"role": "system", "content": "developer"},
            {"role": "user", "content": '"developer"', "name": "developer"},
        ]
    }


@pytest.mark.parametrize("input_", ["developer", [{"type": "item_reference", "id": "developer"}]])
def test_an_input_without_such_a_role_stays_as_it_is(input_: object) -> None:
    asked: dict[str, object] = {"input": input_}
    assert sent_with(RESPONSES, asked, roles={"developer": "system"}) == asked


def test_messages_without_such_a_role_are_sent_byte_for_byte() -> None:
    body = b'{"model":"vllm/x","messages":[ {"role" : "user","n":1.0e1} ]}'
    sent = build_body(CHAT, body, "x", forward_unknown=True, row=row(roles={"developer": "a"}))
    assert b'[ {"role" : "user","n":1.0e1} ]' in sent


def test_openai_itself_gets_every_field_of_its_own() -> None:
    asked = dict.fromkeys(CHAT.known_fields - {"fallbacks", "reasoning", "model"}, "v")
    body = json.dumps({"model": "openai/x", **asked}).encode()
    sent = json.loads(build_body(CHAT, body, "x", forward_unknown=True, row=ROWS["openai"]))
    assert sent == {"model": "x", **asked}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé😀"\\/{[\n\0', max_size=10),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text('ab"\\é', max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)
OTHERS = st.sampled_from(["fallbacks", "background", "extra_fields", "error", "messages"])


@settings(max_examples=50)
@given(
    st.dictionaries(st.text('ab"\\é{', max_size=3) | OTHERS, JSON, max_size=6),
    st.dictionaries(OTHERS, JSON, max_size=2),
    st.booleans(),
)
def test_a_request_is_sent_unchanged_but_for_model_and_fallbacks(
    before: dict[str, object], after: dict[str, object], ascii_only: bool
) -> None:
    members = {**before, "model": "openai/x", **after}
    texts = {name: json.dumps(value, ensure_ascii=ascii_only) for name, value in members.items()}
    body = ",".join(f"{json.dumps(name)} :\t{text}" for name, text in texts.items())
    sent = build_body(CHAT, f"{{ {body} }}".encode(), "x", forward_unknown=True)
    expected = {name: value for name, value in members.items() if name != "fallbacks"}
    expected["model"] = "x"
    assert list(json.loads(sent).items()) == list(expected.items())
    for name in expected.keys() - {"model"}:
        assert texts[name].encode() in sent


def test_headers_carry_key_tag_and_version() -> None:
    assert build_headers(BEARER, {}, "job-1.2") == {
        "User-Agent": f"Hermod/{__version__}",
        "Authorization": "Bearer sk-1",
        "Content-Type": "application/json",
        "X-Client-Request-Id": "job-1.2",
    }


def test_without_a_key_there_is_no_authorization() -> None:
    assert "Authorization" not in build_headers(None, {}, "t")


def test_configured_headers_are_added() -> None:
    headers = build_headers(BEARER, {"api-version": "1", "User-Agent": "mine"}, "t")
    assert headers["api-version"] == "1"
    assert headers["User-Agent"] == "mine"


@pytest.mark.parametrize("name", ["authorization", "CONTENT-TYPE", "x-client-request-id"])
def test_configured_headers_never_double_our_own(name: str) -> None:
    headers = build_headers(BEARER, {name: "theirs"}, "t")
    assert "theirs" not in headers.values()
    assert len({other.lower() for other in headers}) == len(headers)


def test_a_configured_authorization_serves_where_there_is_no_key() -> None:
    assert build_headers(None, {"authorization": "Basic x"}, "t")["authorization"] == "Basic x"
