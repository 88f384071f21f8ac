import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message

from hermod.domain.failure import Failure
from hermod.doors.anthropic_reply import error, from_response, placeholder
from tests.doors.clients import Answer, anthropic_client

USAGE = {
    "input_tokens": 100,
    "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
    "output_tokens": 20,
    "output_tokens_details": {"reasoning_tokens": 5},
    "total_tokens": 120,
}


def shown(*output: dict[str, Any], **members: Any) -> Message:
    """The result as the SDK reads it, strictly."""
    result = {"id": "resp_1", "object": "response", "model": "gpt", "status": "completed"}
    whole = from_response(json.dumps(result | {"output": output} | members).encode(), "asked")
    return Message.model_validate_json(whole, strict=True)


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [output_text(text)]}


def output_text(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


def call(arguments: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": "c1", "name": "f", "arguments": arguments}


def test_a_text():
    message = shown(said("hi"), usage=USAGE, extra_fields={"latency": 5})
    assert message.id == "resp_1"
    assert message.model == "gpt"
    assert [block.to_dict() for block in message.content] == [{"type": "text", "text": "hi"}]
    assert message.stop_reason == "end_turn"
    assert message.stop_sequence is None
    assert message.model_extra == {"extra_fields": {"latency": 5}}


def test_cached_tokens_are_counted_apart():
    usage = shown(said("hi"), usage=USAGE, service_tier="default").usage
    assert usage.input_tokens == 30
    assert usage.cache_read_input_tokens == 60
    assert usage.cache_creation_input_tokens == 10
    assert usage.output_tokens == 20
    assert usage.output_tokens_details is not None
    assert usage.output_tokens_details.thinking_tokens == 5
    assert usage.service_tier == "standard"


@pytest.mark.parametrize(
    ("output", "blocks"),
    [
        ([call('{"a": 1}')], [{"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1}}]),
        ([call("")], [{"type": "tool_use", "id": "c1", "name": "f", "input": {}}]),
        (
            [call("[1")],
            [{"type": "tool_use", "id": "c1", "name": "f", "input": {"INVALID_JSON": "[1"}}],
        ),
        (
            [
                {
                    "type": "reasoning",
                    "summary": [
                        {"type": "summary_text", "text": "a"},
                        {"type": "summary_text", "text": "b"},
                    ],
                    "encrypted_content": "sealed",
                }
            ],
            [{"type": "thinking", "thinking": "a\n\nb", "signature": "sealed"}],
        ),
        (
            [{"type": "reasoning", "content": [{"type": "reasoning_text", "text": "a"}]}],
            [{"type": "thinking", "thinking": "a", "signature": ""}],
        ),
        (
            [{"type": "reasoning", "summary": [], "encrypted_content": "sealed"}],
            [{"type": "redacted_thinking", "data": "sealed"}],
        ),
        ([{"type": "web_search_call", "id": "w"}, said("b")], [{"type": "text", "text": "b"}]),
        ([], [{"type": "text", "text": ""}]),
    ],
)
def test_output_items_are_blocks(output: list[dict[str, Any]], blocks: list[dict[str, Any]]):
    assert [block.to_dict() for block in shown(*output).content] == blocks


@pytest.mark.parametrize(
    ("output", "members", "reason"),
    [
        ([said("a")], {}, "end_turn"),
        ([said("a"), call("{}")], {}, "tool_use"),
        (
            [call("{}")],
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "max_tokens",
        ),
        (
            [said("a")],
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "refusal",
        ),
        (
            [{"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}],
            {},
            "refusal",
        ),
    ],
)
def test_stop_reasons(output: list[dict[str, Any]], members: dict[str, Any], reason: str):
    assert shown(*output, **members).stop_reason == reason


def test_a_result_without_a_model_shows_the_one_that_was_asked():
    assert shown(said("a"), model=None).model == "asked"


def test_a_placeholder_has_no_content():
    client = anthropic_client(lambda _: Answer(placeholder("job-1", None)))
    message = client.messages.create(model="m", max_tokens=1, messages=[])
    assert (message.id, message.content, message.stop_reason) == ("job-1", [], None)
    Message.model_validate_json(placeholder("job-1", "m"), strict=True)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (Failure("slow down", 429, error_type="rate_limit_error"), "rate_limit_error"),
        (Failure("slow down", 429), "api_error"),
        (Failure("job not found or expired", 404), "api_error"),
    ],
)
def test_an_error_has_its_type_or_the_contracts(failure: Failure, kind: str):
    body = error(failure.to_json())
    shown_error = {"type": kind, "message": failure.message}
    assert json.loads(body) == {"type": "error", "error": shown_error}
    client = anthropic_client(lambda _: Answer(body, status=failure.status_code or 500))
    with pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.create(model="m", max_tokens=1, messages=[])
    assert raised.value.status_code == failure.status_code
    assert failure.message in str(raised.value)
