"""OpenAI's Responses request as a chat completion request (API reference, both).

What has no effect there is left out: `include`, but for log probabilities, `max_tool_calls` (it
counts calls of hosted tools, which are refused), `store` (nothing is kept to be asked for), and how
reasoning is to be summarized (all that the model shows of it is passed on).
"""

from typing import Final

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.bridge.input import messages_of
from hermod.providers.bridge.pieces import Crossing, Json, is_object, objects_of, written
from hermod.providers.lenient import items as list_of
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of

_OF_A_CONVERSATION: Final = ("previous_response_id", "conversation")
_NO_CONVERSATIONS: Final = (
    "no conversations are kept here for a provider that has chat completions only; send the whole "
    "conversation as `input`"
)
_SAME: Final = (
    "metadata",
    "prompt_cache_key",
    "safety_identifier",
    "temperature",
    "top_p",
    "user",
)
_OF_CHAT: Final = (
    "frequency_penalty",
    "logit_bias",
    "presence_penalty",
    "prompt_cache_retention",
    "seed",
    "stop",
)
"""What a response knows nothing of, and a chat does: Anthropic's door brings stop sequences."""
_WITHOUT_EFFECT: Final = ("background", "include", "max_tool_calls", "store", "stream_options")
_LOGPROBS: Final = "message.output_text.logprobs"
_MODES: Final = {"any": "required"}
"""Bifrost's other word (wire-contract 1.6)."""


def chat_request(kind: AnyKind, outgoing: Outgoing) -> tuple[bytes, tuple[str, ...]]:
    """The chat completion request that asks for the same, and what was left out of it.

    Raises CannotCarry.
    """
    crossing = Crossing(kind, outgoing)
    cargo = crossing.cargo
    crossing.refuse(_OF_A_CONVERSATION, _NO_CONVERSATIONS)
    crossing.refuse(("prompt",), "prompts are stored with OpenAI, not with this provider")
    instructions = text_of(cargo.take("instructions"))
    chat: Json = {
        "model": outgoing.model,
        "messages": messages_of(crossing, instructions, cargo.take("input")),
        **crossing.carry(_SAME),
        **crossing.carry(_OF_CHAT),
    }
    tier = cargo.take("service_tier")
    if tier not in (None, "auto"):
        chat["service_tier"] = tier
    most = cargo.take("max_output_tokens")
    if most is not None:
        chat["max_completion_tokens"] = most
    top = cargo.take("top_logprobs")
    if top or _LOGPROBS in list_of(cargo.take("include")):
        chat["logprobs"] = True
    if top:
        chat["top_logprobs"] = top
    _add_tools(crossing, chat)
    _add_text(crossing, chat)
    _add_reasoning(crossing, chat)
    if outgoing.stream:
        # The last event of a response tells its usage.
        chat["stream"] = True
        chat["stream_options"] = {"include_usage": True}
    cargo.pass_over(_WITHOUT_EFFECT)
    chat = cargo.unknown() | chat
    return written(chat), crossing.finish()


# Tools


def _add_tools(crossing: Crossing, chat: Json) -> None:
    given = objects_of(crossing.cargo.take("tools"))
    choice = crossing.cargo.take("tool_choice")
    at_once = crossing.cargo.take("parallel_tool_calls")
    tools = [
        converted
        for index, tool in enumerate(given)
        if (converted := _tool(crossing, tool, f"tools[{index}]")) is not None
    ]
    if is_object(choice):
        tools, choice = _chosen(crossing, tools, choice)
    choice = _MODES.get(text_of(choice), choice)
    if tools:
        chat["tools"] = tools
        if at_once is not None:
            chat["parallel_tool_calls"] = at_once
    # Where there is nothing to choose from, a chat wants no choice.
    if choice is not None and (tools or choice not in ("auto", "none")):
        chat["tool_choice"] = choice


def _tool(crossing: Crossing, tool: Json, place: str) -> Json | None:
    kind = text_of(tool.get("type"))
    if kind not in ("function", "custom"):
        why = (
            f"{kind[:100]!r} is a tool that OpenAI runs for its own models, {crossing.whom} offers "
            "chat completions only; leave it out"
        )
        crossing.lose(place, why, "tools")
        return None
    inner: Json = {"name": tool.get("name")}
    if not isinstance(inner["name"], str):
        raise CannotCarry(f"{place}.name: expected a string", "tools")
    names = ("description", "parameters") if kind == "function" else ("description",)
    inner |= {name: tool[name] for name in names if tool.get(name) is not None}
    if kind == "function" and tool.get("strict") is True:
        inner["strict"] = True
    shape = object_of(tool.get("format"))
    if kind == "custom" and shape:
        inner["format"] = _grammar(shape)
    found: Json = {"type": kind, kind: inner}
    if "cache_control" in tool:
        found["cache_control"] = tool["cache_control"]
    return found


def _grammar(shape: Json) -> Json:
    """A chat wraps what a response writes flat."""
    if shape.get("type") != "grammar":
        return shape
    grammar = {name: value for name, value in shape.items() if name != "type"}
    return {"type": "grammar", "grammar": grammar}


def _chosen(crossing: Crossing, tools: list[Json], choice: Json) -> tuple[list[Json], object]:
    """The tools and the choice that come to this choice.

    Allowed tools become the only ones: every chat upstream understands that.
    """
    kind = text_of(choice.get("type"))
    if kind in ("auto", "none", "required", "any"):
        return tools, kind
    if kind in ("function", "custom"):
        return tools, {"type": kind, kind: {"name": choice.get("name")}}
    if kind == "allowed_tools":
        allowed = [(tool.get("type"), tool.get("name")) for tool in objects_of(choice.get("tools"))]
        left = [tool for tool in tools if (tool["type"], _name_of(tool)) in allowed]
        return left, text_of(choice.get("mode")) or "auto"
    why = f"{kind[:100]!r} is a tool that only OpenAI runs"
    crossing.lose("tool_choice", why, "tool_choice")
    return tools, None


def _name_of(tool: Json) -> object:
    return object_of(tool[text_of(tool["type"])]).get("name")


# How it shall be said


def _add_text(crossing: Crossing, chat: Json) -> None:
    text = object_of(crossing.cargo.take("text"))
    if text.get("verbosity") not in (None, "medium"):
        chat["verbosity"] = text["verbosity"]
    shape = object_of(text.get("format"))
    kind = text_of(shape.get("type")) or "text"
    if kind == "json_object":
        chat["response_format"] = {"type": kind}
    elif kind == "json_schema":
        names = ("name", "description", "schema", "strict")
        schema = {name: shape[name] for name in names if shape.get(name) is not None}
        chat["response_format"] = {"type": kind, "json_schema": {"name": "response"} | schema}
    elif kind != "text":
        crossing.lose("text.format", f"a chat has no format {kind[:100]!r}", "text.format")


def _add_reasoning(crossing: Crossing, chat: Json) -> None:
    reasoning = object_of(crossing.cargo.take("reasoning"))
    effort, most = reasoning.get("effort"), reasoning.get("max_tokens")
    if reasoning.get("mode") not in (None, "standard"):
        crossing.lose("reasoning.mode", "a chat has no modes of reasoning", "reasoning.mode")
    if most is not None:
        both: Json = {"effort": effort, "max_tokens": most}
        chat["reasoning"] = {name: value for name, value in both.items() if value is not None}
    elif effort is not None:
        chat["reasoning_effort"] = effort
