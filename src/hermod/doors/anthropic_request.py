"""Anthropic's Messages request as a Responses request (Messages API, Responses API).

Carried as undocumented fields, which reach an upstream only on request: `stop` (of
`stop_sequences`), `top_k` and `thinking`. Dropped, as they only tune: `cache_control`,
`citations`, `context_management`, `diagnostics`, `speed`, and what else the API may learn.
Refused, as the answer would be another one without them: see `_NOT_CARRIED`.
"""

from collections.abc import Container, Mapping
from typing import Final

import msgspec

from hermod.domain.errors import bad_request
from hermod.doors.anthropic_input import input_items, joined_text
from hermod.doors.asked import Fields, Value, read
from hermod.doors.own_words import Speaks, carried, nobody
from hermod.doors.prefix import with_provider
from hermod.kinds import own_words

DEFAULT_PROVIDER: Final = "anthropic"

_NOT_CARRIED: Final = ("container", "mcp_servers", "inference_geo")
_NUMBERS: Final = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
}
_CARRIED: Final = {"thinking": "thinking", "fallbacks": "fallbacks"}
_OURS: Final = frozenset({"model", "stream", "fallbacks"})
"""Members that the gateway sees to, whoever is asked."""
_SERVICE_TIERS: Final = {"auto": "auto", "standard_only": "default"}
_EFFORTS: Final = {
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "xhigh",
}
_WEB_SEARCH: Final = "web_search_"
"""How the types of Anthropic's web search begin; a date follows."""

_LOW_BUDGET: Final = 4_096
_MEDIUM_BUDGET: Final = 16_384
"""Tokens of thinking up to which the effort is low, and medium."""


def to_responses(
    body: bytes,
    known_providers: Container[str],
    speaks: Speaks = nobody,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """The Responses request that asks for the same.

    A model that `speaks` Anthropic's words is asked in them, and `headers` (of Anthropic's) go with
    them; then only a fallback that does not speak them needs a translation.

    Raises `Refused` (400) naming the place, for a wrong type and for what cannot be carried. What
    the Responses kind checks itself, such as `model`, is left to it.
    """
    asked = read(body)
    out: dict[str, object] = {}
    model = asked.get("model")
    if model is not None:
        out["model"] = with_provider(model.text(), known_providers, DEFAULT_PROVIDER)
    if not _needs_translation(asked, out.get("model"), speaks):
        out |= own_words.instead_of_ours(own_words.ANTHROPIC)
        _add_own(asked, out, headers)
        return msgspec.json.encode(out)
    _translate(asked, out)
    if model is not None and speaks(str(out["model"]), own_words.ANTHROPIC):
        _add_own(asked, out, headers)
    return msgspec.json.encode(out)


def _needs_translation(asked: Fields, model: object, speaks: Speaks) -> bool:
    """Whether anybody may be asked who knows our words only."""
    fallbacks = asked.get("fallbacks")
    named = [] if fallbacks is None else fallbacks.items()
    targets = [each.text() if each.is_text else "" for each in named]
    return not all(speaks(str(each), own_words.ANTHROPIC) for each in (model, *targets))


def _add_own(asked: Fields, out: dict[str, object], headers: Mapping[str, str] | None) -> None:
    if "messages" not in asked:
        raise bad_request("messages is required")
    stream = asked.get("stream")
    if stream is not None:
        out["stream"] = stream.flag()
    fallbacks = asked.raw("fallbacks")
    if fallbacks is not None:
        out["fallbacks"] = fallbacks
    out[own_words.MEMBER] = carried(own_words.ANTHROPIC, asked, _OURS, headers)


def _translate(asked: Fields, out: dict[str, object]) -> None:
    asked.refuse(*_NOT_CARRIED)
    system = asked.get("system")
    if system is not None:
        out["instructions"] = joined_text(system)
    messages = asked.get("messages")
    if messages is None or not messages.items():
        raise bad_request("messages is required")
    out["input"] = input_items(messages)
    for name, counterpart in _NUMBERS.items():
        number = asked.get(name)
        if number is not None:
            out[counterpart] = number.number()
    for name, counterpart in _CARRIED.items():
        raw = asked.raw(name)
        if raw is not None:
            out[counterpart] = raw
    stops = asked.get("stop_sequences")
    if stops is not None:
        out["stop"] = [stop.text_raw() for stop in stops.items()]
    stream = asked.get("stream")
    if stream is not None:
        out["stream"] = stream.flag()
    tier = asked.get("service_tier")
    if tier is not None:
        out["service_tier"] = tier.choice(_SERVICE_TIERS)
    metadata = asked.get("metadata")
    user = None if metadata is None else metadata.fields().get("user_id")
    if user is not None:
        out["user"] = user.text_raw()
    _add_tools(asked, out)
    _add_reasoning(asked, out)
    _add_format(asked, out)


def _add_tools(asked: Fields, out: dict[str, object]) -> None:
    tools = asked.get("tools")
    hosted: set[str] = set()
    if tools is not None:
        converted = [_tool(tool, hosted) for tool in tools.items()]
        if converted:
            out["tools"] = converted
    choice = asked.get("tool_choice")
    if choice is None:
        return
    fields = choice.fields()
    kind = fields.need("type").choice(
        {"auto": "auto", "any": "required", "tool": "tool", "none": "none"}
    )
    if kind == "tool":
        name = fields.need("name").text()
        out["tool_choice"] = (
            {"type": "web_search"} if name in hosted else {"type": "function", "name": name}
        )
    else:
        out["tool_choice"] = kind
    one_at_a_time = fields.get("disable_parallel_tool_use")
    if one_at_a_time is not None:
        out["parallel_tool_calls"] = not one_at_a_time.flag()


def _tool(tool: Value, hosted: set[str]) -> dict[str, object]:
    """A function, or a web search; the latter's name is added to `hosted`."""
    fields = tool.fields()
    kind = fields.get("type")
    kind_name = "custom" if kind is None else kind.text()
    if kind is not None and kind_name.startswith(_WEB_SEARCH):
        hosted.add("web_search")
        return _web_search(fields)
    if kind is not None and kind_name != "custom":
        raise kind.refused(f"the tool type {kind_name[:100]!r} is not supported here")
    strict = fields.get("strict")
    function: dict[str, object] = {
        "type": "function",
        "name": fields.need("name").text_raw(),
        "parameters": fields.need("input_schema").object_raw(),
        # Without it an upstream takes the schema as strict, which most schemas are not fit for.
        "strict": strict.flag() if strict is not None else False,
    }
    description = fields.get("description")
    if description is not None:
        function["description"] = description.text_raw()
    return function


def _web_search(fields: Fields) -> dict[str, object]:
    fields.refuse("blocked_domains", "max_uses")
    search: dict[str, object] = {"type": "web_search"}
    allowed = fields.get("allowed_domains")
    if allowed is not None:
        search["filters"] = {"allowed_domains": [item.text_raw() for item in allowed.items()]}
    location = fields.get("user_location")
    if location is not None:
        search["user_location"] = location.object_raw()
    return search


def _add_reasoning(asked: Fields, out: dict[str, object]) -> None:
    """`thinking` and `effort` as `reasoning`; the effort that is named wins over the budget's.

    Thinking that is off, or left to the model, sets nothing: every upstream understands that.
    """
    reasoning: dict[str, object] = {}
    thinking = asked.get("thinking")
    if thinking is not None:
        fields = thinking.fields()
        kind = fields.need("type").text()
        if kind == "enabled":
            reasoning["effort"] = _effort_of(fields.need("budget_tokens").integer())
        display = fields.get("display")
        # Not by default: some upstreams give summaries to verified organizations only.
        if kind != "disabled" and display is not None and display.text() == "summarized":
            reasoning["summary"] = "auto"
    config = asked.get("output_config")
    effort = None if config is None else config.fields().get("effort")
    if effort is not None:
        reasoning["effort"] = effort.choice(_EFFORTS)
    if reasoning:
        out["reasoning"] = reasoning


def _effort_of(budget: int) -> str:
    if budget <= _LOW_BUDGET:
        return "low"
    return "medium" if budget <= _MEDIUM_BUDGET else "high"


def _add_format(asked: Fields, out: dict[str, object]) -> None:
    """Structured output: `output_config.format`, or `output_format` as it was first called."""
    config = asked.get("output_config")
    shape = asked.get("output_format")
    if config is not None:
        shape = config.fields().get("format") or shape
    if shape is None:
        return
    fields = shape.fields()
    fields.need("type").choice({"json_schema": "json_schema"})
    out["text"] = {
        "format": {
            "type": "json_schema",
            "name": "output",
            "schema": fields.need("schema").object_raw(),
            "strict": True,
        }
    }
