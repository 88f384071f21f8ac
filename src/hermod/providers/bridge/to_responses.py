"""A chat completion request as OpenAI's Responses request (API reference, both).

Left out: the `name` of whoever speaks, and thoughts that are not sealed (only their own upstream
reads them). A response is stored unless the request says otherwise, a chat is not: so it says so.
"""

from typing import Final

from hermod.kinds.kind import AnyKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.bridge.pieces import Crossing, Json, is_list, is_object, objects_of, written
from hermod.providers.chat_words import answered_call, refuse_old_call, refuse_sound
from hermod.providers.lenient import members as object_of
from hermod.providers.lenient import text as text_of

_SAME: Final = (
    "metadata",
    "parallel_tool_calls",
    "prompt_cache_key",
    "prompt_cache_retention",
    "safety_identifier",
    "service_tier",
    "temperature",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
_ROLES: Final = frozenset({"system", "developer", "user"})


def responses_request(kind: AnyKind, outgoing: Outgoing) -> tuple[bytes, tuple[str, ...]]:
    """The Responses request that asks for the same, and what was left out of it.

    Raises CannotCarry.
    """
    crossing = Crossing(kind, outgoing)
    cargo = crossing.cargo
    items = _Items(crossing)
    for index, message in enumerate(objects_of(cargo.take("messages"))):
        items.add(message, f"messages[{index}]")
    asked: Json = {"model": outgoing.model, "input": items.found, **crossing.carry(_SAME)}
    asked["store"] = cargo.take("store") is True
    most, legacy = cargo.take("max_completion_tokens"), cargo.take("max_tokens")
    most = legacy if most is None else most
    if most is not None:
        asked["max_output_tokens"] = most
    include: list[str] = []
    if cargo.take("logprobs"):
        include.append("message.output_text.logprobs")
    if _add_reasoning(crossing, asked):
        # Nothing is stored: without this the next turn could not know of it.
        include.append("reasoning.encrypted_content")
    if include:
        asked["include"] = include
    _add_tools(crossing, asked)
    _add_text(crossing, asked)
    if outgoing.stream:
        asked["stream"] = True
        options = object_of(cargo.take("stream_options"))
        if "include_obfuscation" in options:
            asked["stream_options"] = {"include_obfuscation": options["include_obfuscation"]}
    asked = cargo.unknown() | asked
    return written(asked), crossing.finish()


class _Items:
    """The input so far."""

    def __init__(self, crossing: Crossing) -> None:
        self.found: list[Json] = []
        self._crossing = crossing
        self._custom: set[str] = set()
        """The ids of calls of custom tools."""

    def add(self, message: Json, place: str) -> None:
        """One message. Raises CannotCarry."""
        role = text_of(message.get("role"))
        if role == "assistant":
            self._assistant(message, place)
        elif role == "tool":
            call_id = answered_call(message, place)
            kind = "custom_tool_call" if call_id in self._custom else "function_call"
            content = message.get("content")
            output = "" if content is None else self._content(content, f"{place}.content")
            self.found.append({"type": f"{kind}_output", "call_id": call_id, "output": output})
        elif role in _ROLES:
            content = self._content(message.get("content") or "", f"{place}.content")
            self.found.append({"role": role, "content": content})
        else:
            raise CannotCarry(f"{place}.role: unknown role {role[:100]!r}", f"{place}.role")

    def _assistant(self, message: Json, place: str) -> None:
        refuse_sound(message, place)
        refuse_old_call(message, place)
        self.found.extend(_thoughts(objects_of(message.get("reasoning_details")), place))
        content = message.get("content")
        parts = objects_of(content)
        texts = [text_of(part.get("text")) or text_of(part.get("refusal")) for part in parts]
        text = text_of(content) or "".join(texts) or text_of(message.get("refusal"))
        if text:
            self.found.append({"role": "assistant", "content": text})
        calls = objects_of(message.get("tool_calls"))
        for index, call in enumerate(calls):
            self._call(call, f"{place}.tool_calls[{index}]")

    def _call(self, call: Json, place: str) -> None:
        custom = "custom" in call
        inner = object_of(call.get("custom" if custom else "function"))
        call_id, name = call.get("id"), inner.get("name")
        if not isinstance(call_id, str) or not isinstance(name, str):
            raise CannotCarry(f"{place}: a call needs an id and a name", place)
        found: Json = {"call_id": call_id, "name": name}
        if custom:
            self._custom.add(call_id)
            found |= {"type": "custom_tool_call", "input": text_of(inner.get("input"))}
        else:
            found |= {"type": "function_call", "arguments": text_of(inner.get("arguments"))}
        self.found.append(found)

    def _content(self, content: object, place: str) -> str | list[Json]:
        if not is_list(content):
            return text_of(content)
        parts = (self._part(object_of(part), f"{place}[{n}]") for n, part in enumerate(content))
        return [part for part in parts if part is not None]

    def _part(self, part: Json, place: str) -> Json | None:
        kind = text_of(part.get("type"))
        if kind == "text":
            return {"type": "input_text", "text": text_of(part.get("text"))}
        if kind == "image_url":
            image = object_of(part.get("image_url"))
            detail = image.get("detail") or "auto"
            return {"type": "input_image", "image_url": image.get("url"), "detail": detail}
        if kind == "file":
            return {"type": "input_file", **object_of(part.get("file"))}
        if kind == "input_audio":
            return {"type": kind, "input_audio": object_of(part.get("input_audio"))}
        self._crossing.lose(place, f"a response has no part of type {kind[:100]!r}", place)
        return None


def _thoughts(details: list[Json], place: str) -> list[Json]:
    """The sealed thoughts; what was said of one stands before it, under the same id."""
    found: list[Json] = []
    summaries: dict[object, list[Json]] = {}
    for index, detail in enumerate(details):
        text = text_of(detail.get("text")) or text_of(detail.get("summary"))
        sealed = text_of(detail.get("data")) or text_of(detail.get("signature"))
        name = text_of(detail.get("id"))
        if text:
            summaries.setdefault(name, []).append({"type": "summary_text", "text": text})
        if sealed:
            found.append(
                {
                    "type": "reasoning",
                    "id": name or f"rs_{place.strip(']').replace('[', '_')}_{index}",
                    "summary": summaries.pop(name, []),
                    "encrypted_content": sealed,
                }
            )
    return found


def _add_tools(crossing: Crossing, asked: Json) -> None:
    tools: list[Json] = []
    for tool in objects_of(crossing.cargo.take("tools")):
        kind = text_of(tool.get("type")) or "function"
        inner = object_of(tool.get(kind))
        if kind == "function":
            # A response takes the schema as strict where nothing is said, a chat does not.
            tools.append({"type": kind, "parameters": None, "strict": False, **inner})
        elif kind == "custom":
            shape = object_of(inner.get("format"))
            grammar = object_of(shape.get("grammar"))
            flat: Json = {"format": {"type": "grammar", **grammar}} if grammar else {}
            tools.append({"type": kind, **inner, **flat})
        else:
            tools.append(tool)  # a response has more of them than a chat: the search for one
    search = crossing.cargo.take("web_search_options")
    if search is not None:
        tools.append(_web_search(object_of(search)))
    if tools:
        asked["tools"] = tools
    choice = crossing.cargo.take("tool_choice")
    if is_object(choice):
        choice = _choice(choice)
    if choice is not None:
        asked["tool_choice"] = "required" if choice == "any" else choice


def _web_search(options: Json) -> Json:
    """The tool that a chat has options for; the place is flat there."""
    place = object_of(options.get("user_location"))
    flat: Json = {"user_location": {**object_of(place.get("approximate")), "type": "approximate"}}
    return {**options, "type": "web_search", **(flat if place else {})}


def _choice(choice: Json) -> object:
    """What a chat wraps, a response writes flat."""
    kind = text_of(choice.get("type"))
    if kind in ("function", "custom"):
        return {"type": kind, "name": object_of(choice.get(kind)).get("name") or choice.get("name")}
    if kind == "allowed_tools":
        allowed = object_of(choice.get(kind)) or choice
        tools = [_choice(tool) for tool in objects_of(allowed.get("tools"))]
        return {"type": kind, "mode": allowed.get("mode") or "auto", "tools": tools}
    return kind


def _add_text(crossing: Crossing, asked: Json) -> None:
    text: Json = crossing.carry(("verbosity",))
    shape = object_of(crossing.cargo.take("response_format"))
    kind = text_of(shape.get("type"))
    if kind == "json_schema":
        text["format"] = {"type": kind, **object_of(shape.get(kind))}
    elif kind == "json_object":
        text["format"] = {"type": kind}
    elif kind not in ("", "text"):
        what = "response_format"
        crossing.lose(what, f"a response has no format {kind[:100]!r}", what)
    if text:
        asked["text"] = text


def _add_reasoning(crossing: Crossing, asked: Json) -> bool:
    """Whether there is to be any, as far as the request says."""
    cargo = crossing.cargo
    given = object_of(cargo.take("reasoning"))
    effort = cargo.take("reasoning_effort") or given.get("effort")
    most = cargo.take("reasoning_max_tokens") or given.get("max_tokens")
    both: Json = {"effort": effort, "max_tokens": most}
    reasoning = {name: value for name, value in both.items() if value is not None}
    if reasoning:
        asked["reasoning"] = reasoning
    return bool(reasoning) and effort != "none"
