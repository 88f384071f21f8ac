"""OpenAI's chat completion request as one for Anthropic's Messages API, wherever Claude is served.

Source: Anthropic's API reference, "Create a Message", and the guides to tool use, structured
outputs and thinking; for the other clouds "Claude on Amazon Bedrock", "Claude on Vertex AI".
"""

import re
from typing import Any, Final, NamedTuple

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.anthropic.messages import Block, cache_mark, conversation
from hermod.providers.anthropic.models import Thinking, samples_freely, thinking_of
from hermod.providers.cargo import Cargo
from hermod.providers.chat_words import choice_of, function_of, limit_of, reasoning_of, stops_of
from hermod.providers.closed_schema import closed
from hermod.providers.lenient import items, members, text

_SERVICE_TIERS: Final = {
    "auto": "auto",
    "priority": "auto",
    "default": "standard_only",
    "standard_only": "standard_only",
}
_MODES: Final = {"auto": "auto", "none": "none", "required": "any"}

_is_anthropics_tool: Final = re.compile(r"[a-z_]+_20\d{6}").fullmatch
"""Tools that run at Anthropic are named with the date of their version."""


class Messages(NamedTuple):
    """A request for the Messages API."""

    body: dict[str, object]
    dropped: tuple[str, ...]
    """Members that were left out, as the operator allows."""


def messages_body(
    kind: AnyKind, outgoing: Outgoing, *, version: str | None = None, model: str | None = None
) -> Messages:
    """The request that asks for the same.

    With `version` (`vertex-2023-10-16`, `bedrock-2023-05-31`) it is for a cloud that has the model
    in its path: `anthropic_version` is in the body, the model is not. `model` is what Claude is
    called elsewhere, where `outgoing.model` is a deployment's name. `stream` is there when one is
    wanted; Bedrock has a path for that instead.

    Raises:
        CannotCarry: names the member that Claude does not take.
    """
    return _Translation(Cargo(kind, outgoing), outgoing, model or outgoing.model).made(version)


class _Translation:
    """One request under way."""

    def __init__(self, cargo: Cargo, outgoing: Outgoing, model: str) -> None:
        self._cargo = cargo
        self._outgoing = outgoing
        self._model = model

    def made(self, version: str | None) -> Messages:
        cargo = self._cargo
        spoken = conversation(items(cargo.take("messages")))
        thinking = self._thinking()
        body: dict[str, object] = {"max_tokens": thinking.max_tokens, "messages": spoken.messages}
        if version is None:
            body["model"] = self._outgoing.model
            tier = _SERVICE_TIERS.get(text(cargo.take("service_tier")))
            if tier is not None:
                body["service_tier"] = tier
        else:
            body["anthropic_version"] = version
        if spoken.system:
            body["system"] = spoken.system
        if self._outgoing.stream:
            body["stream"] = True
        if thinking.config is not None:
            body["thinking"] = thinking.config
        self._add_sampling(body, thinking)
        self._add_tools(body)
        self._add_output(body, thinking.effort)
        self._add_rest(body)
        body.update(cargo.unknown())
        return Messages(body, cargo.finish())

    def _thinking(self) -> Thinking:
        asked = reasoning_of(self._cargo)
        effort = "medium" if asked.is_wanted else asked.effort
        return thinking_of(self._model, effort, asked.budget, limit_of(self._cargo))

    def _add_sampling(self, body: dict[str, object], thinking: Thinking) -> None:
        """`temperature`, `top_p` and `top_k`. Thinking wants them unset, newer models always do."""
        freely = samples_freely(self._model)
        for name in ("temperature", "top_p", "top_k"):
            if name == "top_k" and not self._outgoing.forward_unknown:
                continue
            value = self._cargo.take(name)
            if value is None or (value == 1 and name != "top_k"):
                continue  # 1 is what they are anyway, and setting both is refused
            if not freely:
                self._cargo.lose(name, f"{self._model} does not take it")
            elif thinking.is_on and not (name == "top_p" and value >= 0.95):
                self._cargo.lose(name, "Claude does not take it together with thinking")
            else:
                body[name] = value

    def _add_tools(self, body: dict[str, object]) -> None:
        cargo = self._cargo
        tools = [
            _tool(tool, f"tools[{index}]") for index, tool in enumerate(items(cargo.take("tools")))
        ]
        asked = choice_of(cargo.take("tool_choice"), {text(tool.get("name")) for tool in tools})
        choice: Block | None = None
        if asked is not None and asked.is_one:
            choice = {"type": "tool", "name": asked.names[0]}
        elif asked is not None:
            choice = {"type": _MODES[asked.mode]}
            tools = [tool for tool in tools if not asked.names or tool.get("name") in asked.names]
        one_at_a_time = cargo.take("parallel_tool_calls") is False
        if tools:
            body["tools"] = tools
            if one_at_a_time and (choice is None or choice["type"] != "none"):
                choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
            if choice is not None:
                body["tool_choice"] = choice

    def _add_output(self, body: dict[str, object], effort: str | None) -> None:
        config: dict[str, object] = {} if effort is None else {"effort": effort}
        asked = members(self._cargo.take("response_format"))
        kind = text(asked.get("type")) or "text"
        if kind == "json_schema":
            schema = members(asked.get("json_schema")).get("schema")
            if not isinstance(schema, dict):
                where = "response_format.json_schema.schema"
                raise CannotCarry(f"{where}: expected an object", where)
            config["format"] = {"type": "json_schema", "schema": closed(schema)}
        elif kind != "text":
            self._cargo.lose("response_format", f"Claude has no {kind[:100]!r}, only json_schema")
        if config:
            body["output_config"] = config

    def _add_rest(self, body: dict[str, object]) -> None:
        cargo = self._cargo
        if stops := stops_of(cargo):
            body["stop_sequences"] = stops
        user = (
            text(members(cargo.members.get("metadata")).get("user_id"))
            or text(cargo.members.get("safety_identifier"))
            or text(cargo.members.get("user"))
        )
        if user:
            body["metadata"] = {"user_id": user}


def _tool(tool: Any, where: str) -> Block:
    told = members(tool)
    kind = text(told.get("type")) or "function"
    if _is_anthropics_tool(kind):
        return dict(told)
    function = function_of(tool, where)
    made: Block = {
        "name": function["name"],
        "input_schema": {"type": "object", **members(function.get("parameters"))},
    }
    if text(function.get("description")):
        made["description"] = function["description"]
    if function.get("strict") is True:
        made["strict"] = True
    return made | (cache_mark(tool) or cache_mark(function))
