"""What a door hands on as it is, and what it makes of what comes back."""

import json
from typing import Any

import pytest

from hermod.domain.errors import Refused
from hermod.doors import anthropic_reply, genai_reply
from hermod.doors.anthropic_request import to_responses
from hermod.doors.genai_request import to_chat
from hermod.kinds import own_words
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.kind import Checked
from hermod.kinds.own_words import ANTHROPIC, GOOGLE, MEMBER
from hermod.kinds.responses import RESPONSES

KNOWN = frozenset({"anthropic", "gemini", "vertex", "openai"})
ASKED: dict[str, Any] = {
    "model": "claude-opus-5",
    "messages": [{"role": "user", "content": "Hi"}],
    "container": "c-1",
}


def speaks(model: str, api: str) -> bool:
    return model.startswith({ANTHROPIC: ("anthropic/", "vertex/claude"), GOOGLE: "gemini/"}[api])


def asked(**more: Any) -> dict[str, Any]:
    body = to_responses(json.dumps(ASKED | more).encode(), KNOWN, speaks)
    RESPONSES.check(body, KNOWN)
    return json.loads(body)


def test_the_gateway_keeps_what_it_sees_to() -> None:
    found = asked(stream=True, fallbacks=["vertex/claude-opus-5"], top_k=4)
    assert found == {
        "model": "anthropic/claude-opus-5",
        "stream": True,
        "fallbacks": ["vertex/claude-opus-5"],
        **own_words.instead_of_ours(ANTHROPIC),
        MEMBER: {
            "api": ANTHROPIC,
            "headers": {},
            "request": {
                "messages": ASKED["messages"],
                "container": "c-1",
                "top_k": 4,
            },
        },
    }


def test_extra_params_stand_beside_the_others_which_win() -> None:
    found = asked(extra_params={"inference_geo": "eu", "container": "c-2", "model": "m"})
    assert found[MEMBER]["request"] == {
        "messages": ASKED["messages"],
        "container": "c-1",
        "inference_geo": "eu",
    }


def test_what_a_fallback_cannot_be_told_is_refused() -> None:
    with pytest.raises(Refused, match="container"):
        asked(fallbacks=["openai/gpt-5"])


def test_a_fallback_with_other_words_has_a_translation_beside() -> None:
    body = to_responses(
        json.dumps(
            {name: ASKED[name] for name in ("model", "messages")} | {"fallbacks": ["openai/gpt-5"]}
        ).encode(),
        KNOWN,
        speaks,
    )
    found = json.loads(body)
    assert found["input"] == [{"type": "message", "role": "user", "content": "Hi"}]
    assert found[MEMBER]["request"] == {"messages": ASKED["messages"]}


def test_a_model_of_another_vendor_is_asked_in_ours() -> None:
    with pytest.raises(Refused, match="container"):
        asked(model="openai/gpt-5")


def test_a_stream_has_to_be_a_truth_value() -> None:
    with pytest.raises(Refused, match="stream"):
        asked(stream="yes")


def test_googles_names_stay_as_they_were_written() -> None:
    request = {"contents": [], "cached_content": "a", "safetySettings": []}
    body = to_chat("gemini-3-pro", json.dumps(request).encode(), KNOWN, stream=True, speaks=speaks)
    assert CHAT_COMPLETION.check(body, KNOWN) == Checked("gemini", "gemini-3-pro", stream=True)
    assert json.loads(body)[MEMBER]["request"] == request


def answer(api: str, theirs: Any) -> bytes:
    return own_words.with_answer(b'{"id":"ours"}', api, json.dumps(theirs).encode())


def test_an_answer_with_nulls_stays_as_it_is() -> None:
    message = {"id": "msg", "content": [{"type": "text", "text": "Hi"}], "stop_sequence": None}
    assert json.loads(anthropic_reply.from_response(answer(ANTHROPIC, message), "m")) == message


def test_a_message_without_content_is_not_taken_for_one_that_is_not_there_yet() -> None:
    shown = json.loads(anthropic_reply.from_response(answer(ANTHROPIC, {"content": []}), "m"))
    assert shown["content"] == [{"type": "text", "text": ""}]


@pytest.mark.parametrize("held", ["1", "{}", '{"api":"google","answer":{}}', '{"api":1}', "[]"])
def test_what_is_no_answer_of_the_vendors_is_none(held: str) -> None:
    result = b'{"id":"ours","choices":[],"%b":%b}' % (MEMBER.encode(), held.encode())
    assert json.loads(anthropic_reply.from_response(result, "m"))["id"] == "ours"
    assert json.loads(genai_reply.from_chat(result)) == {"responseId": "ours"}
