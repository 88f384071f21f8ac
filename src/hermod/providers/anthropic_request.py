"""OpenAI's chat completion request as one for Anthropic's Messages API, wherever Claude is served.

Source: Anthropic's API reference, "Create a Message", and the guides to tool use, structured
outputs and thinking; for the other clouds "Claude on Amazon Bedrock", "Claude on Vertex AI".
"""

import re
from typing import Any, Final, NamedTuple, cast

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.anthropic_messages import Block, cache_mark, conversation
from hermod.providers.anthropic_models import Thinking, samples_freely, thinking_of
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import items, members, number, text

_USUAL: Final[dict[str, object]] = {
    "frequency_penalty": 0,
    "modalities": ["text"],
    "presence_penalty": 0,
    "top_logprobs": 0,
    "truncation": "disabled",
}
_UNDOCUMENTED: Final[dict[str, object]] = {"n": 1, "functions": [], "function_call": "none"}
"""Of OpenAI too, but not in our table of fields; each with the value that asks for nothing."""
_SERVICE_TIERS: Final = {
    "auto": "auto",
    "priority": "auto",
    "default": "standard_only",
    "standard_only": "standard_only",
}
_NESTS_ONE: Final = ("items", "additionalProperties")
_NESTS_MANY: Final = ("anyOf", "oneOf", "prefixItems")
_NESTS_NAMED: Final = ("properties", "$defs", "definitions")

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
        self._lost: list[str] = []

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
        for name, nothing in _UNDOCUMENTED.items():
            value = cargo.take(name)
            if value is not None and value != nothing and self._outgoing.forward_unknown:
                self._lose(name, "Claude knows nothing like it")
        body.update(cargo.unknown())
        return Messages(body, (*cargo.finish(_USUAL), *self._lost))

    def _lose(self, name: str, why: str) -> None:
        """Leave a member out, if the operator allows that. Raises CannotCarry."""
        if not self._outgoing.drop_unsupported:
            raise CannotCarry(
                f"{name}: {why}; leave it out, or set client.compat.should_drop_params to have "
                "such fields dropped",
                param=name,
            )
        self._lost.append(name)

    def _thinking(self) -> Thinking:
        cargo = self._cargo
        reasoning = members(cargo.take("reasoning"))
        effort = text(cargo.take("reasoning_effort") or reasoning.get("effort")) or None
        said = number(cargo.take("reasoning_max_tokens"))
        said = number(reasoning.get("max_tokens")) if said is None else said
        budget = None if said is None else int(said)
        enabled = reasoning.get("enabled")
        if effort is None and budget is None and isinstance(enabled, bool):
            effort = "medium" if enabled else "none"
        newer, older = cargo.take("max_completion_tokens"), cargo.take("max_tokens")
        limit = number(older if newer is None else newer)
        return thinking_of(self._model, effort, budget, None if limit is None else int(limit))

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
                self._lose(name, f"{self._model} does not take it")
            elif thinking.is_on and not (name == "top_p" and value >= 0.95):
                self._lose(name, "Claude does not take it together with thinking")
            else:
                body[name] = value

    def _add_tools(self, body: dict[str, object]) -> None:
        cargo = self._cargo
        tools = [
            _tool(tool, f"tools[{index}]") for index, tool in enumerate(items(cargo.take("tools")))
        ]
        choice, named = _choice(cargo.take("tool_choice"))
        if named is not None:
            tools = [tool for tool in tools if tool["name"] in named]
        one_at_a_time = cargo.take("parallel_tool_calls") is False
        if tools:
            body["tools"] = tools
            if one_at_a_time and (choice is None or choice["type"] != "none"):
                choice = {**(choice or {"type": "auto"}), "disable_parallel_tool_use": True}
        elif choice is not None and choice["type"] in ("auto", "none"):
            choice = None
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
            config["format"] = {"type": "json_schema", "schema": _closed(schema)}
        elif kind != "text":
            self._lose("response_format", f"Claude has no {kind[:100]!r}, only json_schema")
        if config:
            body["output_config"] = config

    def _add_rest(self, body: dict[str, object]) -> None:
        cargo = self._cargo
        stop = cargo.take("stop")
        if stop:
            body["stop_sequences"] = [stop] if isinstance(stop, str) else stop
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
    if kind != "function":
        raise CannotCarry(f"{where}: Claude has no tools of the type {kind[:100]!r}", where)
    function = members(told.get("function"))
    name = text(function.get("name"))
    if not name:
        raise CannotCarry(f"{where}.function.name is required", f"{where}.function.name")
    made: Block = {
        "name": name,
        "input_schema": {"type": "object", **members(function.get("parameters"))},
    }
    if text(function.get("description")):
        made["description"] = function["description"]
    if function.get("strict") is True:
        made["strict"] = True
    return made | (cache_mark(tool) or cache_mark(function))


def _choice(choice: Any) -> tuple[Block | None, set[str] | None]:
    """Anthropic's `tool_choice`, and the names of the tools that may be used, if not all may."""
    kind = choice if isinstance(choice, str) else text(members(choice).get("type"))
    if choice is None:
        return None, None
    if kind in ("auto", "none"):
        return {"type": kind}, None
    if kind == "required":
        return {"type": "any"}, None
    told = members(choice)
    if kind == "function":
        name = text(members(told.get("function")).get("name"))
        return {"type": "tool", "name": name}, None
    if kind == "allowed_tools":
        allowed = members(told.get("allowed_tools")) or told
        named = {
            text((members(members(tool).get("function")) or members(tool)).get("name"))
            for tool in items(allowed.get("tools"))
        }
        return {"type": "any" if allowed.get("mode") == "required" else "auto"}, named
    raise CannotCarry(f"tool_choice: Claude has nothing like {kind[:100]!r}", "tool_choice")


def _closed(schema: Any) -> Any:
    """The schema with every object closed to members it does not name, as Anthropic demands.

    What fits it fits the schema as it was, too. An object that names no members is left open, and
    so are the parts of `allOf`, which would shut each other out.
    """
    if not isinstance(schema, dict):
        return schema
    made = dict(members(cast("object", schema)))
    for name in _NESTS_ONE:
        if name in made:
            made[name] = _closed(made[name])
    for name in _NESTS_MANY:
        if isinstance(made.get(name), list):
            made[name] = [_closed(each) for each in items(made[name])]
    for name in _NESTS_NAMED:
        if isinstance(made.get(name), dict):
            made[name] = {key: _closed(each) for key, each in members(made[name]).items()}
    if members(made.get("properties")):
        made.setdefault("additionalProperties", False)
    return made
