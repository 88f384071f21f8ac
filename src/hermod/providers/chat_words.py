"""What a chat says in several ways, read in one way for all dialects that write it anew.

Source: OpenAI's API reference, "Create chat completion" (`tool_choice`, `reasoning_effort`, `stop`,
`stream_options`, `tool_calls`), and the names that Bifrost and OpenRouter use beside them
(wire-contract 1.6).
"""

from collections.abc import Collection
from typing import Any, Final, NamedTuple

import msgspec

from hermod.kinds import json_guard
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.cargo import Cargo
from hermod.providers.lenient import items, members, number, text

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
_MODES: Final = {"auto": "auto", "none": "none", "required": "required", "any": "required"}
"""Bifrost's `any` is OpenAI's `required`."""
_UNREADABLE: Final = "INVALID_JSON"
"""Where Anthropic's guide "Fine-grained tool streaming" puts arguments that its models broke off;
others understand it as well."""
_SHOWN: Final = 60
_members_of: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _Options(msgspec.Struct, gc=False):
    include_usage: object = None


class _Wish(msgspec.Struct, gc=False):
    stream_options: _Options | None = None


_read_wish: Final = msgspec.json.Decoder(_Wish).decode


def wants_usage(outgoing: Outgoing) -> bool:
    """Whether the last chunk of a stream is to tell it (`stream_options.include_usage`)."""
    try:
        options = _read_wish(outgoing.body).stream_options
    except msgspec.DecodeError:
        return False
    return options is not None and options.include_usage is True


class Reasoning(NamedTuple):
    """How much to think, as far as a request says."""

    effort: str | None
    budget: int | None
    """In tokens."""
    is_wanted: bool
    """Whether it only says that the model shall think."""
    is_hidden: bool
    """Whether the thoughts shall not be shown."""


def reasoning_of(cargo: Cargo) -> Reasoning:
    """`reasoning_effort`, `reasoning_max_tokens` and `reasoning` as one."""
    told = members(cargo.take("reasoning"))
    effort = text(cargo.take("reasoning_effort") or told.get("effort"))
    said = number(cargo.take("reasoning_max_tokens"))
    said = number(told.get("max_tokens")) if said is None else said
    is_open = not effort and said is None
    if is_open and told.get("enabled") is False:
        effort = "none"
    return Reasoning(
        effort or None,
        None if said is None else int(said),
        is_open and told.get("enabled") is True,
        told.get("exclude") is True,
    )


def must_be_known(effort: str | None) -> None:
    """For dialects without a word for efforts. Raises CannotCarry for one that is none."""
    if effort is not None and effort not in EFFORTS:
        known = ", ".join(EFFORTS)
        raise CannotCarry(f"reasoning_effort: not one of {known}", "reasoning_effort")


def limit_of(cargo: Cargo) -> int | None:
    """The most tokens of an answer; of the two names the newer one's value counts."""
    newer, older = cargo.take("max_completion_tokens"), cargo.take("max_tokens")
    limit = number(older if newer is None else newer)
    return None if limit is None else int(limit)


def stops_of(cargo: Cargo) -> list[Any]:
    """`stop` as an array; empty if it says nothing."""
    stop = cargo.take("stop")
    return [stop] if isinstance(stop, str) and stop else items(stop)


class Choice(NamedTuple):
    """A `tool_choice`."""

    mode: str
    """`auto`, `none` or `required`."""
    names: tuple[str, ...] = ()
    """The only functions that may be called; empty if all may."""
    is_one: bool = False
    """Whether it is that one function that must be called."""


def choice_of(asked: object, offered: Collection[str]) -> Choice | None:
    """The choice among the tools of these names; None where nothing is said.

    Raises:
        CannotCarry: no such choice, none of those tools, or no tools at all.
    """
    told = members(asked)
    kind = asked if isinstance(asked, str) else text(told.get("type"))
    if asked is None or asked == {}:
        return None
    if kind in _MODES:
        return _possible(Choice(_MODES[kind]), offered)
    if kind == "function" or (not kind and "function" in told):
        return _possible(Choice("required", (_name_of(told),), is_one=True), offered)
    if kind == "allowed_tools":
        # A response says flat what a chat wraps.
        allowed = members(told.get("allowed_tools")) or told
        names = tuple(_name_of(members(tool)) for tool in items(allowed.get("tools")))
        if names:
            mode = "required" if allowed.get("mode") == "required" else "auto"
            return _possible(Choice(mode, names), offered)
    raise CannotCarry(f"tool_choice: {kind[:_SHOWN]!r} is not supported", "tool_choice")


def _name_of(told: dict[str, Any]) -> str:
    return text(members(told.get("function")).get("name")) or text(told.get("name"))


def _possible(choice: Choice, offered: Collection[str]) -> Choice:
    if choice.mode == "required" and not offered:
        raise CannotCarry("tool_choice: there are no functions to choose from", "tool_choice")
    if not set(offered).issuperset(choice.names):
        raise CannotCarry("tool_choice: names a function that is not in tools", "tool_choice")
    return choice


def function_of(tool: Any, where: str) -> dict[str, Any]:
    """The function of a tool; its `type` may be left out. Raises CannotCarry for another tool."""
    told = members(tool)
    kind = text(told.get("type")) or "function"
    if kind != "function":
        message = f"{where}: only functions are supported, no {kind[:_SHOWN]!r}"
        raise CannotCarry(message, where)
    function = members(told.get("function"))
    if not text(function.get("name")):
        raise CannotCarry(f"{where}.function.name is required", f"{where}.function.name")
    return function


class Call(NamedTuple):
    """A call of a function, as an assistant's message has it."""

    id: str
    name: str
    written: object
    """The arguments: a text, unless a client wrote something else."""


def call_of(call: Any, where: str, *, needs_id: bool = True) -> Call:
    """One of `tool_calls`. Raises CannotCarry for what is no call of a function."""
    told = members(call)
    if told.get("type", "function") != "function":
        raise CannotCarry(f"{where}: only calls of functions are supported", where)
    function = members(told.get("function"))
    found = Call(text(told.get("id")), text(function.get("name")), function.get("arguments"))
    if not found.name or (needs_id and not found.id):
        raise CannotCarry(f"{where}: a call needs an id and the function's name", where)
    return found


def arguments_of(written: object, where: str) -> object:
    """The object that a call's arguments are, its numbers as they were written.

    No arguments are an empty object. What a model wrote is not for its caller to mend: what cannot
    be read goes along inside an object. Raises CannotCarry for what is no text and no object.
    """
    if found := members(written):
        return found
    if written not in (None, {}) and not isinstance(written, str):
        raise CannotCarry(f"{where}: expected a text with a JSON object", where)
    said = text(written).strip()
    if not said:
        return {}
    encoded = said.encode("utf-8", "replace")
    if json_guard.problem(encoded, json_guard.DEPTH_MAX) is None:
        try:
            # What msgspec cannot read is no use upstream either.
            msgspec.json.decode(encoded)
            return _members_of(encoded)
        except msgspec.DecodeError:
            pass
    return {_UNREADABLE: said}


def answered_call(message: dict[str, Any], where: str) -> str:
    """The id of the call that a tool's message answers. Raises CannotCarry."""
    call_id = text(message.get("tool_call_id"))
    if not call_id:
        place = f"{where}.tool_call_id"
        raise CannotCarry(f"{place}: a tool's message needs one", place)
    return call_id


def refuse_sound(message: dict[str, Any], where: str) -> None:
    """An assistant's `audio` is the id of a sound that no upstream kept. Raises CannotCarry."""
    if message.get("audio") is not None:
        place = f"{where}.audio"
        raise CannotCarry(f"{place}: send what was said as content instead", place)


def refuse_old_call(message: dict[str, Any], where: str) -> None:
    """For dialects that do not read an assistant's `function_call`. Raises CannotCarry."""
    if message.get("function_call") is not None:
        place = f"{where}.function_call"
        raise CannotCarry(f"{place}: use tool_calls instead", place)
