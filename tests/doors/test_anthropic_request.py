import base64
import json
from typing import Any

import pytest

from hermod.domain.errors import Refused
from hermod.doors.anthropic_reply import placeholder
from hermod.doors.anthropic_request import to_responses
from hermod.kinds.responses import RESPONSES
from tests.doors.clients import KNOWN, Answer, Sent, anthropic_client

PNG = base64.b64encode(b"\x89PNG+/").decode()


def sent(**asked: Any) -> dict[str, Any]:
    """What the SDK asks for, as a Responses request that its kind accepts."""
    taken: list[bytes] = []

    def answering(request: Sent) -> Answer:
        assert request.path == "/v1/messages"
        taken.append(request.body)
        return Answer(placeholder("j", "m"))

    asked = {"model": "claude-x", "max_tokens": 10, "messages": [user("hi")]} | asked
    anthropic_client(answering).messages.create(**asked)
    return translated(taken[0])


def translated(body: bytes | dict[str, Any]) -> dict[str, Any]:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    whole = to_responses(text, KNOWN)
    RESPONSES.check(whole, KNOWN)
    return json.loads(whole)


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def item(role: str, content: Any) -> dict[str, Any]:
    return {"type": "message", "role": role, "content": content}


def refusal(**asked: Any) -> str:
    body = {"model": "claude-x", "max_tokens": 10, "messages": [user("hi")]} | asked
    with pytest.raises(Refused) as refused:
        to_responses(json.dumps(body).encode(), KNOWN)
    assert refused.value.failure.status_code == 400
    return refused.value.failure.message


def test_the_smallest_request():
    assert sent() == {
        "model": "anthropic/claude-x",
        "input": [item("user", "hi")],
        "max_output_tokens": 10,
    }


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("mock/echo", "mock/echo"),
        ("meta/llama", "anthropic/meta/llama"),
        ("claude", "anthropic/claude"),
    ],
)
def test_a_model_without_a_known_provider_is_anthropics(model: str, expected: str):
    assert sent(model=model)["model"] == expected


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"system": "be brief"}, {"instructions": "be brief"}),
        (
            {"system": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"instructions": "a\nb"},
        ),
        (
            # The newest SDK has no names for these any more.
            {"extra_body": {"temperature": 0.5, "top_p": 0.25, "top_k": 5}},
            {"temperature": 0.5, "top_p": 0.25, "top_k": 5},
        ),
        ({"stop_sequences": ["X"]}, {"stop": ["X"]}),
        ({"metadata": {"user_id": "u"}}, {"user": "u"}),
        ({"metadata": {}}, {}),
        ({"service_tier": "auto"}, {"service_tier": "auto"}),
        ({"service_tier": "standard_only"}, {"service_tier": "default"}),
        ({"tool_choice": {"type": "auto"}}, {"tool_choice": "auto"}),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        (
            {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            {"tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "name": "f"}},
        ),
        ({"output_config": {"effort": "max"}}, {"reasoning": {"effort": "xhigh"}}),
        ({"cache_control": {"type": "ephemeral"}}, {}),
    ],
)
def test_parameters(asked: dict[str, Any], expected: dict[str, Any]):
    base = sent()
    assert sent(**asked) == base | expected


@pytest.mark.parametrize(
    ("thinking", "expected"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, {"effort": "low"}),
        ({"type": "enabled", "budget_tokens": 16384}, {"effort": "medium"}),
        ({"type": "enabled", "budget_tokens": 16385}, {"effort": "high"}),
        ({"type": "adaptive"}, None),
        ({"type": "adaptive", "display": "summarized"}, {"summary": "auto"}),
        ({"type": "adaptive", "display": "omitted"}, None),
        ({"type": "disabled"}, None),
    ],
)
def test_thinking_is_reasoning(thinking: dict[str, Any], expected: dict[str, Any] | None):
    whole = sent(thinking=thinking, max_tokens=20_000)
    assert whole.get("reasoning") == expected
    assert whole["thinking"] == thinking


def test_a_named_effort_wins_over_the_budget():
    thinking = {"type": "enabled", "budget_tokens": 1024}
    whole = sent(thinking=thinking, output_config={"effort": "high"}, max_tokens=2000)
    assert whole["reasoning"] == {"effort": "high"}


@pytest.mark.parametrize("place", ["output_config", "output_format"])
def test_structured_output(place: str):
    shape = {"type": "json_schema", "schema": {"type": "object"}}
    asked = {"output_config": {"format": shape}} if place == "output_config" else {place: shape}
    body = {"model": "m", "messages": [user("hi")]} | asked
    assert translated(body)["text"] == {
        "format": {
            "type": "json_schema",
            "name": "output",
            "schema": {"type": "object"},
            "strict": True,
        }
    }


def test_tools():
    schema = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 1e3}}}
    whole = sent(
        tools=[
            {"name": "f", "description": "does f", "input_schema": schema},
            {"type": "custom", "name": "g", "input_schema": schema, "strict": True},
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "allowed_domains": ["a.example"],
                "user_location": {"type": "approximate", "country": "DE"},
            },
        ],
        tool_choice={"type": "tool", "name": "web_search"},
    )
    f = {"type": "function", "name": "f", "description": "does f"}
    assert whole["tools"] == [
        f | {"parameters": schema, "strict": False},
        {"type": "function", "name": "g", "parameters": schema, "strict": True},
        {
            "type": "web_search",
            "filters": {"allowed_domains": ["a.example"]},
            "user_location": {"type": "approximate", "country": "DE"},
        },
    ]
    assert whole["tool_choice"] == {"type": "web_search"}


@pytest.mark.parametrize(
    ("block", "parts"),
    [
        ({"type": "text", "text": "t"}, [{"type": "input_text", "text": "t"}]),
        (
            {"type": "text", "text": "t", "cache_control": {"type": "ephemeral"}},
            [{"type": "input_text", "text": "t"}],
        ),
        (
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": PNG},
            },
            [
                {
                    "type": "input_image",
                    "detail": "auto",
                    "image_url": f"data:image/png;base64,{PNG}",
                }
            ],
        ),
        (
            {"type": "image", "source": {"type": "url", "url": "https://a/b.png"}},
            [{"type": "input_image", "detail": "auto", "image_url": "https://a/b.png"}],
        ),
        (
            {
                "type": "document",
                "title": "T",
                "context": "C",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
            },
            [
                {"type": "input_text", "text": "C"},
                {
                    "type": "input_file",
                    "filename": "T",
                    "file_data": f"data:application/pdf;base64,{PNG}",
                },
            ],
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}},
            [{"type": "input_file", "file_url": "https://a/b.pdf"}],
        ),
        (
            {
                "type": "document",
                "title": "T",
                "source": {"type": "text", "media_type": "text/plain", "data": "D"},
            },
            [{"type": "input_text", "text": "T"}, {"type": "input_text", "text": "D"}],
        ),
        (
            {
                "type": "document",
                "source": {"type": "content", "content": [{"type": "text", "text": "D"}]},
            },
            [{"type": "input_text", "text": "D"}],
        ),
        (
            {"type": "document", "source": {"type": "content", "content": "D"}},
            [{"type": "input_text", "text": "D"}],
        ),
        (
            {
                "type": "search_result",
                "title": "T",
                "source": "S",
                "content": [{"type": "text", "text": "D"}],
            },
            [{"type": "input_text", "text": "T\nS\nD"}],
        ),
    ],
)
def test_blocks_of_a_user(block: dict[str, Any], parts: list[dict[str, Any]]):
    assert sent(messages=[user([block])])["input"] == [item("user", parts)]


def test_a_text_document_in_base64_is_read():
    data = base64.b64encode("grün".encode()).decode()
    source = {"type": "base64", "media_type": "text/plain", "data": data}
    found = translated({"model": "m", "messages": [user([{"type": "document", "source": source}])]})
    assert found["input"] == [item("user", [{"type": "input_text", "text": "grün"}])]


@pytest.mark.parametrize(
    ("result", "output"),
    [
        ({"content": "4"}, "4"),
        ({}, ""),
        ({"is_error": True}, "Error"),
        ({"content": "no", "is_error": True}, "Error: no"),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "a\nb"),
        (
            {
                "content": [
                    {"type": "text", "text": "a"},
                    {"type": "image", "source": {"type": "url", "url": "https://a"}},
                ]
            },
            [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "detail": "auto", "image_url": "https://a"},
            ],
        ),
    ],
)
def test_tool_results(result: dict[str, Any], output: Any):
    block = {"type": "tool_result", "tool_use_id": "c1"} | result
    after = {"type": "text", "text": "go on"}
    assert sent(messages=[user([block, after])])["input"] == [
        {"type": "function_call_output", "call_id": "c1", "output": output},
        item("user", [{"type": "input_text", "text": "go on"}]),
    ]


def test_blocks_of_the_assistant_keep_their_order():
    whole = sent(
        messages=[
            user("hi"),
            assistant(
                {"type": "thinking", "thinking": "hm", "signature": "s"},
                {"type": "thinking", "thinking": "unsigned", "signature": ""},
                {"type": "redacted_thinking", "data": "r"},
                {"type": "text", "text": "so"},
                {"type": "tool_use", "id": "c1", "name": "f", "input": {"a": 1.50}},
            ),
        ]
    )
    assert whole["input"][1:] == [
        {
            "type": "reasoning",
            "summary": [{"type": "summary_text", "text": "hm"}],
            "encrypted_content": "s",
        },
        {"type": "reasoning", "summary": [], "encrypted_content": "r"},
        item("assistant", [{"type": "output_text", "text": "so"}]),
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1.5}'},
    ]


def test_a_system_message_among_the_others_stays_where_it_is():
    found = translated({"model": "m", "messages": [user("a"), {"role": "system", "content": "b"}]})
    assert found["input"] == [item("user", "a"), item("system", "b")]


def test_values_travel_as_they_were_written():
    body = (
        b'{"model":"m","temperature":1.10,"messages":[{"role":"user","content":"\\u00e9"}],'
        b'"tools":[{"name":"f","input_schema":{ "n": 1e400 }}]}'
    )
    whole = to_responses(body, KNOWN)
    assert b'"temperature":1.10' in whole
    assert b'"parameters":{ "n": 1e400 }' in whole
    assert b'"content":"\\u00e9"' in whole


def test_a_stream_is_asked_for():
    body = {"model": "m", "messages": [user("hi")], "stream": True, "fallbacks": ["openai/x"]}
    whole = json.loads(to_responses(json.dumps(body).encode(), KNOWN))
    assert whole["stream"] is True
    assert whole["fallbacks"] == ["openai/x"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"messages": None}, "messages is required"),
        ({"messages": []}, "messages is required"),
        (
            {"messages": [user(4)]},
            "invalid request format: Expected `array` - at `$.messages[0].content`",
        ),
        (
            {"messages": [{"role": "tool", "content": ""}]},
            "invalid request format: 'tool' is none of user, assistant, system "
            "- at `$.messages[0].role`",
        ),
        (
            {"messages": [user([{"type": "container_upload"}])]},
            "invalid request format: the block type 'container_upload' is not supported here "
            "- at `$.messages[0].content[0].type`",
        ),
        (
            {"messages": [user([{"type": "image", "source": {"type": "file", "file_id": "f"}}])]},
            "invalid request format: 'file' is none of base64, url "
            "- at `$.messages[0].content[0].source.type`",
        ),
        (
            {"messages": [assistant({"type": "server_tool_use", "id": "a"})]},
            "invalid request format: the block type 'server_tool_use' is not supported here "
            "- at `$.messages[0].content[0].type`",
        ),
        (
            {"tools": [{"type": "bash_20250124", "name": "bash"}]},
            "invalid request format: the tool type 'bash_20250124' is not supported here "
            "- at `$.tools[0].type`",
        ),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1}]},
            "invalid request format: this is not supported here - at `$.tools[0].max_uses`",
        ),
        (
            {"tools": [{"name": "f"}]},
            "invalid request format: Object missing required field `input_schema` "
            "- at `$.tools[0]`",
        ),
        (
            {"container": "c"},
            "invalid request format: this is not supported here - at `$.container`",
        ),
        (
            {"mcp_servers": []},
            "invalid request format: this is not supported here - at `$.mcp_servers`",
        ),
        (
            {"max_tokens": "10"},
            "invalid request format: Expected `number` - at `$.max_tokens`",
        ),
        (
            {"system": [{"type": "image"}]},
            "invalid request format: 'image' is none of text - at `$.system[0].type`",
        ),
        (
            {"thinking": {"type": "enabled"}},
            "invalid request format: Object missing required field `budget_tokens` "
            "- at `$.thinking`",
        ),
    ],
)
def test_what_is_wrong_or_cannot_be_carried_is_named(asked: dict[str, Any], message: str):
    assert refusal(**asked) == message


def test_a_stop_sequence_that_is_no_text_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        to_responses(
            b'{"model":"a","messages":[{"role":"user","content":"x"}],"stop_sequences":["a",true]}',
            frozenset(),
        )
    assert "$.stop_sequences[1]" in refused.value.failure.message
