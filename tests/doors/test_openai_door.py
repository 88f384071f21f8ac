import json
from typing import Any
from uuid import UUID

import pytest
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

from hermod.domain.failure import Failure
from hermod.domain.ids import uuid7
from hermod.domain.job import State
from hermod.doors.openai import (
    background_response,
    job_id_of,
    placeholder_chat,
    placeholder_response,
    response_id,
)
from hermod.doors.prefix import prefixed, with_provider
from tests.doors.clients import KNOWN

JOB = "0198c0de-0000-7000-8000-00000000abcd"
REQUEST = b"""{
  "model": "openai/gpt", "input": "hi", "background": true, "temperature": 0.50,
  "metadata": {"a": "b"}, "instructions": null,
  "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": false}]
}"""
RESULT = b"""{
  "id": "resp_upstream", "object": "response", "created_at": 5, "status": "completed",
  "model": "gpt", "output": [], "parallel_tool_calls": true, "temperature": 1.00, "tools": [],
  "tool_choice": "auto", "usage": null, "error": null, "extra_fields": {"latency": 1}
}"""


def shown(state: State, **members: Any) -> Response:
    """The response as the SDK reads it, strictly."""
    asked: dict[str, Any] = {"completed_at_s": None, "request": REQUEST}
    whole = background_response(
        state, job_id=JOB, created_at_s=100, model="openai/gpt", **asked | members
    )
    return Response.model_validate_json(whole, strict=True)


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.QUEUED, "queued"),
        (State.RUNNING, "in_progress"),
        (State.WAITING, "in_progress"),
        (State.CANCELLED, "cancelled"),
    ],
)
def test_a_job_without_a_result_repeats_its_request(state: State, status: str):
    found = shown(state)
    assert found.id == "resp_0198c0de00007000800000000000abcd"
    assert found.status == status
    assert found.background is True
    assert found.created_at == 100
    assert found.model == "openai/gpt"
    assert found.output == []
    assert found.temperature == 0.5
    assert found.metadata == {"a": "b"}
    assert [tool.type for tool in found.tools] == ["function"]
    assert found.error is None


def test_a_job_whose_request_is_not_at_hand_shows_defaults():
    found = shown(State.QUEUED, request=None)
    assert found.tool_choice == "auto"
    assert found.temperature == 1.0


def test_a_result_shows_under_the_jobs_id():
    found = shown(State.COMPLETED, result=RESULT, completed_at_s=107)
    assert found.id == response_id(JOB)
    assert found.status == "completed"
    assert found.created_at == 100
    assert found.completed_at == 107
    assert found.background is True
    assert found.model == "gpt"
    assert (found.model_extra or {})["extra_fields"] == {"latency": 1}


def test_the_values_of_a_result_travel_as_they_were_written():
    whole = background_response(
        State.COMPLETED,
        job_id=JOB,
        created_at_s=100,
        completed_at_s=107,
        model="gpt",
        result=RESULT,
        request=REQUEST,
    )
    assert b'"temperature":1.00' in whole


def test_an_incomplete_result_stays_incomplete():
    result = json.loads(RESULT) | {
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
    }
    found = shown(State.COMPLETED, result=json.dumps(result).encode(), completed_at_s=107)
    assert found.status == "incomplete"
    assert found.incomplete_details is not None
    assert found.incomplete_details.reason == "max_output_tokens"
    assert found.completed_at is None


@pytest.mark.parametrize("state", [State.FAILED, State.EXPIRED])
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Failure("why", 429), "rate_limit_exceeded"),
        (Failure("why", 400), "invalid_prompt"),
        (Failure("why", 400, code="image_too_large"), "image_too_large"),
        (Failure("why", 400, code="context_length_exceeded"), "invalid_prompt"),
        (Failure("why", 401), "server_error"),
        (Failure("why"), "server_error"),
    ],
)
def test_a_failure_has_one_of_openais_codes(state: State, failure: Failure, code: str):
    found = shown(state, error=failure.to_json(), completed_at_s=107)
    assert found.status == "failed"
    assert found.error is not None
    assert (found.error.code, found.error.message) == (code, "why")


def test_every_state_has_a_status():
    for state in State:
        assert shown(state).status is not None


@pytest.mark.parametrize("status", ["pending", "processing"])
def test_the_placeholder_of_the_async_protocol(status: str):
    whole = json.loads(placeholder_response(JOB, status, "gpt", 100))
    assert whole["id"] == JOB
    assert whole["status"] == status
    expected = {
        "temperature": 1.0,
        "top_p": 1.0,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "store": True,
        "background": False,
        "service_tier": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {},
        "output": [],
        "object": "response",
    }
    assert {name: whole[name] for name in expected} == expected
    # The status is Bifrost's own word, all the rest is OpenAI's.
    Response.model_validate(whole | {"status": "queued"}, strict=True)


def test_the_placeholder_of_a_chat_has_no_choices():
    found = ChatCompletion.model_validate_json(placeholder_chat(JOB, None, 100), strict=True)
    assert (found.id, found.choices, found.created, found.usage) == (JOB, [], 100, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (JOB, JOB),
        (JOB.upper(), JOB),
        (response_id(JOB), JOB),
        ("resp_0198C0DE00007000800000000000ABCD", JOB),
        ("", None),
        ("resp_", None),
        (JOB.replace("-", ""), None),
        (response_id(JOB) + "0", None),
        (response_id(JOB) + "\n", None),
        (f"resp_{JOB}", None),
        ("resp_" + "x" * 32, None),
        ("resp_" + "\u0663" * 32, None),
    ],
)
def test_which_job_an_id_names(text: str, found: str | None):
    assert job_id_of(text) == found


def test_ids_go_there_and_back():
    job_id = uuid7(1_700_000_000_000_000)
    assert job_id_of(response_id(job_id)) == job_id
    assert UUID(job_id).version == 7


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt", "openai/gpt"),
        ("anthropic/x", "anthropic/x"),
        ("meta/llama", "openai/meta/llama"),
        ("Anthropic/x", "openai/Anthropic/x"),
        ("openai", "openai/openai"),
        ("openai/", "openai/"),
        ("", ""),
    ],
)
def test_a_model_without_a_known_provider_gets_the_default(model: str, expected: str):
    assert with_provider(model, KNOWN, "openai") == expected


def test_a_prefix_leaves_every_other_value_as_it_was_written():
    body = b'{"a": 1.10, "model": "gpt", "b": {"c": "\\u00e9", "d": 1e400}}'
    expected = b'{"a":1.10,"model":"openai/gpt","b":{"c": "\\u00e9", "d": 1e400}}'
    assert prefixed(body, "openai", KNOWN) == expected


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "mock/x" }',
        b'{"model": 4}',
        b'{"model": null}',
        b"{}",
        b"[]",
        b"",
        b"\xff",
        b'{"model": "gpt"',
        b'{"model":"gpt","a":' + b"[" * 100_000,
    ],
)
def test_a_body_that_needs_no_prefix_or_is_no_request_stays_as_it_is(body: bytes):
    assert prefixed(body, "openai", KNOWN) is body
