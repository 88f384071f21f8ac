"""OpenAI's chat completion request as one for Bedrock's Converse.

Source: Amazon Bedrock API reference, "Converse", "InferenceConfiguration", "ToolConfiguration" and
"OutputConfig"; user guide, "OpenAI models" (what has no place of its own goes to
`additionalModelRequestFields`), "Adaptive thinking" and "Extended thinking"; Amazon Nova's user
guide, "Using the Converse API".
"""

import re
from collections.abc import Collection
from typing import Any, Final

import msgspec

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.anthropic_models import Thinking, samples_freely, thinking_of
from hermod.providers.bedrock_messages import conversation
from hermod.providers.bedrock_model import name_of
from hermod.providers.bedrock_parts import Block, cache_point
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import items, members, number, text

_USUAL: Final[dict[str, object]] = {
    "frequency_penalty": 0,
    "modalities": ["text"],
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "top_logprobs": 0,
    "truncation": "disabled",
}
_CONVERSES_OWN: Final = (
    "additionalModelResponseFieldPaths",
    "guardrailConfig",
    "performanceConfig",
    "promptVariables",
    "requestMetadata",
    "serviceTier",
)
"""Converse's own members, which a client may send as they are."""
_TIERS: Final = {"default": "default", "flex": "flex", "priority": "priority"}
_NO_TOOL: Final[Block] = {
    "toolSpec": {
        "name": "none",
        "description": "Does nothing; there is no tool to call.",
        "inputSchema": {"json": {"type": "object", "properties": {}}},
    }
}
"""A conversation with calls in it must offer tools, also where the request offers none."""
_thinks_by_nova: Final = re.compile(r"nova-(?:2|premier-2|[3-9])").search
_NOVA_EFFORTS: Final = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "high",
    "max": "high",
}


def converse_body(kind: AnyKind, outgoing: Outgoing) -> tuple[dict[str, object], tuple[str, ...]]:
    """The request that asks for the same, and the members that were left out, if that is allowed.

    Raises:
        CannotCarry: names the member that Converse has no place for.
    """
    return _Translation(Cargo(kind, outgoing), outgoing).made()


class _Translation:
    """One request under way."""

    def __init__(self, cargo: Cargo, outgoing: Outgoing) -> None:
        self._cargo = cargo
        self._outgoing = outgoing
        self._name = name_of(outgoing, cargo.members)
        self._body: dict[str, object] = {}
        self._inference: dict[str, object] = {}
        self._additional: dict[str, Any] = {}
        self._output: dict[str, object] = {}
        self._lost: list[str] = []

    def made(self) -> tuple[dict[str, object], tuple[str, ...]]:
        cargo, body = self._cargo, self._body
        spoken = conversation(cargo.take("messages"))
        body["messages"] = spoken.messages
        if spoken.system:
            body["system"] = spoken.system
        self._add_inference()
        self._add_tools(has_tools=spoken.has_tools)
        self._add_format()
        tier = _TIERS.get(text(cargo.take("service_tier")))
        if tier is not None and tier != "default":
            body["serviceTier"] = {"type": tier}
        if self._inference:
            body["inferenceConfig"] = self._inference
        self._add_unknown()
        if self._output:
            body["outputConfig"] = self._output
        if self._additional:
            body["additionalModelRequestFields"] = self._additional
        return body, (*cargo.finish(_USUAL), *self._lost)

    def _lose(self, name: str, why: str) -> None:
        """Leave a member out, if the operator allows that. Raises CannotCarry."""
        if not self._outgoing.drop_unsupported:
            raise CannotCarry(
                f"{name}: {why}; leave it out, or set client.compat.should_drop_params to have "
                "such fields dropped",
                param=name,
            )
        self._lost.append(name)

    def _add_inference(self) -> None:
        cargo, inference = self._cargo, self._inference
        newer, older = cargo.take("max_completion_tokens"), cargo.take("max_tokens")
        told = number(older if newer is None else newer)
        limit = None if told is None else int(told)
        thinking = self._add_reasoning(limit)
        if thinking is not None and thinking.is_on:
            limit = thinking.max_tokens
        if limit is not None:
            inference["maxTokens"] = limit
        for name, theirs in (("temperature", "temperature"), ("top_p", "topP")):
            value = cargo.take(name)
            if value is not None and self._may_sample(name, value, thinking):
                inference[theirs] = value
        stop = cargo.take("stop")
        if stop:
            inference["stopSequences"] = [stop] if isinstance(stop, str) else stop

    def _may_sample(self, name: str, value: float, thinking: Thinking | None) -> bool:
        """Claude wants sampling unset while it thinks, newer ones always. Raises CannotCarry."""
        if "claude" not in self._name:
            return True
        if value == 1:
            return False  # which is what it is anyway, and setting both is refused
        is_on = thinking is not None and thinking.is_on
        if samples_freely(self._name) and (not is_on or (name == "top_p" and value >= 0.95)):
            return True
        self._lose(name, "Claude does not take it with thinking, and newer ones never do")
        return False

    def _add_reasoning(self, limit: int | None) -> Thinking | None:
        """How much to think, in the words of the model's family; what Claude is told, if it is one.

        Raises CannotCarry for a model that has no word for it.
        """
        cargo = self._cargo
        asked = members(cargo.take("reasoning"))
        effort = text(cargo.take("reasoning_effort") or asked.get("effort")) or None
        told = number(cargo.take("reasoning_max_tokens"))
        told = number(asked.get("max_tokens")) if told is None else told
        budget = None if told is None else int(told)
        if effort is None and budget is None and asked.get("enabled") is not None:
            effort = "medium" if asked["enabled"] is True else "none"
        name = self._name
        if "claude" in name:
            thinking = thinking_of(name, effort, budget, limit)
            if thinking.config is not None:
                self._additional["thinking"] = thinking.config
            if thinking.effort is not None:
                self._output["effort"] = thinking.effort
            return thinking
        if effort is None and budget is None:
            return None
        if "gpt-oss" in name:
            self._additional["reasoning_effort"] = effort or "medium"
        elif _thinks_by_nova(name) and (effort in ("none", None) or effort in _NOVA_EFFORTS):
            is_off = effort == "none" or budget == 0
            self._additional["reasoningConfig"] = (
                {"type": "disabled"}
                if is_off
                else {
                    "type": "enabled",
                    "maxReasoningEffort": _NOVA_EFFORTS[effort or "medium"],
                }
            )
        elif effort != "none" and budget != 0:
            param = "reasoning_effort" if cargo.members.get("reasoning_effort") else "reasoning"
            self._lose(param, f"{self._outgoing.model} is not known to take it through Bedrock")
        return None

    def _add_tools(self, *, has_tools: bool) -> None:
        cargo = self._cargo
        offered = items(cargo.take("tools"))
        choice, named = _choice(cargo.take("tool_choice"))
        tools: list[Block] = []
        for index, each in enumerate(offered if choice != "none" else ()):
            tool = members(each)
            spec = _tool(tool, f"tools[{index}]")
            if named is None or spec["name"] in named:
                tools += [{"toolSpec": spec}, *cache_point(tool)]
        one_at_a_time = cargo.take("parallel_tool_calls") is False and bool(tools)
        if one_at_a_time and "claude" in self._name:
            # Converse has no word for it, but hands Anthropic's own through.
            self._additional["tool_choice"] = _anthropics(choice)
            choice = None
        elif one_at_a_time:
            self._lose("parallel_tool_calls", "Converse has no word for one call at a time")
        if tools:
            config: dict[str, object] = {"tools": tools}
            if isinstance(choice, dict):
                config["toolChoice"] = choice
        elif has_tools:
            config = {"tools": [_NO_TOOL]}
        else:
            return
        self._body["toolConfig"] = config

    def _add_format(self) -> None:
        asked = members(self._cargo.take("response_format"))
        kind = text(asked.get("type")) or "text"
        if kind == "json_schema":
            told = members(asked.get("json_schema"))
            schema = told.get("schema")
            if not isinstance(schema, dict):
                where = "response_format.json_schema.schema"
                raise CannotCarry(f"{where}: expected an object", where)
            definition = {"schema": msgspec.json.encode(schema).decode()}
            definition |= {
                name: text(told.get(name))
                for name in ("name", "description")
                if text(told.get(name))
            }
            self._output["textFormat"] = {
                "type": "json_schema",
                "structure": {"jsonSchema": definition},
            }
        elif kind != "text":
            self._lose("response_format", f"Converse has no {kind[:60]!r}, only json_schema")

    def _add_unknown(self) -> None:
        """What is not OpenAI's: Converse's own members, and what is for the model alone."""
        cargo = self._cargo
        for name in _CONVERSES_OWN:
            value = cargo.take(name) if self._outgoing.forward_unknown else None
            if value is not None:
                self._body[name] = value
        unknown = cargo.unknown()
        if unknown.get("n") == 1:
            del unknown["n"]
        additional = members(unknown.pop("additionalModelRequestFields", None))
        self._output |= members(unknown.pop("outputConfig", None))
        if "nova" in self._name and "top_k" in unknown:
            unknown["inferenceConfig"] = {"topK": unknown.pop("top_k")}
        self._additional |= unknown | additional


def _choice(asked: object) -> tuple[Block | str | None, Collection[str] | None]:
    """Converse's `toolChoice`, "none", or None for the default, and the tools that may be called
    if not all. Raises CannotCarry."""
    if isinstance(asked, str):
        if asked == "required":
            return {"any": {}}, None
        if asked not in ("auto", "none"):
            raise CannotCarry(f"tool_choice: {asked[:60]!r} is not supported", "tool_choice")
        return ("none" if asked == "none" else None), None
    told = members(asked)
    kind = text(told.get("type"))
    if kind == "function":
        return {"tool": {"name": text(members(told.get("function")).get("name"))}}, None
    if kind == "allowed_tools":
        allowed = members(told.get("allowed_tools"))
        functions = [members(members(each).get("function")) for each in items(allowed.get("tools"))]
        choice: Block | None = {"any": {}} if allowed.get("mode") == "required" else None
        return choice, {text(function.get("name")) for function in functions}
    if told:
        raise CannotCarry(f"tool_choice: {kind[:60]!r} is not supported", "tool_choice")
    return None, None


def _anthropics(choice: Block | str | None) -> Block:
    """A choice in Anthropic's words, for one call at a time."""
    told: Block = choice if isinstance(choice, dict) else {"auto": {}}
    ((kind, about),) = told.items()
    return {"type": kind, **about, "disable_parallel_tool_use": True}


def _tool(tool: Block, where: str) -> Block:
    function = members(tool.get("function"))
    if tool.get("type") != "function" or not function:
        kind = text(tool.get("type"))
        raise CannotCarry(f"{where}: only functions are supported, no {kind[:60]!r}", "tools")
    parameters = members(function.get("parameters")) or {"type": "object", "properties": {}}
    spec: Block = {"name": text(function.get("name")), "inputSchema": {"json": parameters}}
    description = text(function.get("description"))
    if description:
        spec["description"] = description
    if function.get("strict") is True:
        spec["strict"] = True
    return spec
