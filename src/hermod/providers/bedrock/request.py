"""OpenAI's chat completion request as one for Bedrock's Converse.

Source: Amazon Bedrock API reference, "Converse", "InferenceConfiguration", "ToolConfiguration" and
"OutputConfig"; user guide, "OpenAI models" (what has no place of its own goes to
`additionalModelRequestFields`), "Adaptive thinking" and "Extended thinking"; Amazon Nova's user
guide, "Using the Converse API".
"""

import re
from typing import Any, Final

import msgspec

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.anthropic.models import Thinking, samples_freely, thinking_of
from hermod.providers.bedrock.messages import conversation
from hermod.providers.bedrock.model import name_of
from hermod.providers.bedrock.parts import Block, cache_point
from hermod.providers.cargo import Cargo
from hermod.providers.chat_words import (
    Choice,
    choice_of,
    function_of,
    limit_of,
    must_be_known,
    reasoning_of,
    stops_of,
)
from hermod.providers.closed_schema import closed
from hermod.providers.lenient import items, members, text

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
        return body, cargo.finish()

    def _add_inference(self) -> None:
        cargo, inference = self._cargo, self._inference
        limit = limit_of(cargo)
        thinking = self._add_reasoning(limit)
        if thinking is not None and thinking.is_on:
            limit = thinking.max_tokens
        if limit is not None:
            inference["maxTokens"] = limit
        for name, theirs in (("temperature", "temperature"), ("top_p", "topP")):
            value = cargo.take(name)
            if value is not None and self._may_sample(name, value, thinking):
                inference[theirs] = value
        if stops := stops_of(cargo):
            inference["stopSequences"] = stops

    def _may_sample(self, name: str, value: float, thinking: Thinking | None) -> bool:
        """Claude wants sampling unset while it thinks, newer ones always. Raises CannotCarry."""
        if "claude" not in self._name:
            return True
        if value == 1:
            return False  # which is what it is anyway, and setting both is refused
        is_on = thinking is not None and thinking.is_on
        if samples_freely(self._name) and (not is_on or (name == "top_p" and value >= 0.95)):
            return True
        self._cargo.lose(name, "Claude does not take it with thinking, and newer ones never do")
        return False

    def _add_reasoning(self, limit: int | None) -> Thinking | None:
        """How much to think, in the words of the model's family; what Claude is told, if it is one.

        Raises CannotCarry for a model that has no word for it.
        """
        cargo = self._cargo
        asked = reasoning_of(cargo)
        effort, budget = "medium" if asked.is_wanted else asked.effort, asked.budget
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
        elif _thinks_by_nova(name):
            must_be_known(effort)
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
            self._cargo.lose(
                param, f"{self._outgoing.model} is not known to take it through Bedrock"
            )
        return None

    def _add_tools(self, *, has_tools: bool) -> None:
        cargo = self._cargo
        given = [
            (members(tool), _tool(tool, f"tools[{index}]"))
            for index, tool in enumerate(items(cargo.take("tools")))
        ]
        choice = choice_of(cargo.take("tool_choice"), {spec["name"] for _, spec in given})
        if choice is not None and choice.mode == "none":
            given = []
        elif choice is not None and choice.names and not choice.is_one:
            given = [(tool, spec) for tool, spec in given if spec["name"] in choice.names]
        tools: list[Block] = []
        for tool, spec in given:
            tools += [{"toolSpec": spec}, *cache_point(tool)]
        theirs = _their_choice(choice)
        one_at_a_time = cargo.take("parallel_tool_calls") is False and bool(tools)
        if one_at_a_time and "claude" in self._name:
            # Converse has no word for it, but hands Anthropic's own through.
            self._additional["tool_choice"] = _anthropics(theirs)
            theirs = None
        elif one_at_a_time:
            self._cargo.lose("parallel_tool_calls", "Converse has no word for one call at a time")
        if tools:
            config: dict[str, object] = {"tools": tools}
            if theirs is not None:
                config["toolChoice"] = theirs
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
            definition = {"schema": msgspec.json.encode(closed(schema)).decode()}
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
            self._cargo.lose("response_format", f"Converse has no {kind[:60]!r}, only json_schema")

    def _add_unknown(self) -> None:
        """What is not OpenAI's: Converse's own members, and what is for the model alone."""
        cargo = self._cargo
        for name in _CONVERSES_OWN:
            value = cargo.take(name) if self._outgoing.forward_unknown else None
            if value is not None:
                self._body[name] = value
        unknown = cargo.unknown()
        additional = members(unknown.pop("additionalModelRequestFields", None))
        self._output |= members(unknown.pop("outputConfig", None))
        if "nova" in self._name and "top_k" in unknown:
            unknown["inferenceConfig"] = {"topK": unknown.pop("top_k")}
        self._additional |= unknown | additional


def _their_choice(choice: Choice | None) -> Block | None:
    """Converse's `toolChoice`; None for its default. It has no word for no call at all."""
    if choice is None or choice.mode != "required":
        return None
    return {"tool": {"name": choice.names[0]}} if choice.is_one else {"any": {}}


def _anthropics(choice: Block | None) -> Block:
    """A choice in Anthropic's words, for one call at a time."""
    ((kind, about),) = (choice or {"auto": {}}).items()
    return {"type": kind, **about, "disable_parallel_tool_use": True}


def _tool(tool: Any, where: str) -> Block:
    function = function_of(tool, where)
    parameters = members(function.get("parameters")) or {"type": "object", "properties": {}}
    spec: Block = {"name": function["name"], "inputSchema": {"json": parameters}}
    description = text(function.get("description"))
    if description:
        spec["description"] = description
    if function.get("strict") is True:
        spec["strict"] = True
    return spec
