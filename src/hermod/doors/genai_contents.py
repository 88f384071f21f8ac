"""Google's contents as chat messages.

Thoughts and their signatures are dropped: no other upstream knows what to do with them. Refused
are the parts of Google's own tools, and files that only Google can fetch.
"""

from typing import Final

import msgspec

from hermod.doors.asked import Fields, Value

Message = dict[str, object]

_ROLES: Final = {"user": "user", "model": "model", "function": "user"}
_STANDARD_ALPHABET: Final = bytes.maketrans(b"-_", b"+/")
"""Google's clients write base64 in the alphabet for URLs; data URLs have the other one."""
_KNOWN_PARTS: Final = (
    "text",
    "inlineData",
    "fileData",
    "functionCall",
    "functionResponse",
)
_FOREIGN_PARTS: Final = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_AUDIO_FORMATS: Final = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav"}


def camel(name: str) -> str:
    """A member's name as Google documents it: `max_output_tokens` is `maxOutputTokens`."""
    if "_" not in name:
        return name
    first, *rest = name.split("_")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)


def text_of(content: Value) -> str:
    """The text of a content that holds nothing else, its parts one below the other."""
    if content.is_text:
        return content.text()
    texts: list[str] = []
    for part in content.fields().need("parts").items():
        fields = part.fields()
        fields.refuse(*(name for name in (*_KNOWN_PARTS, *_FOREIGN_PARTS) if name != "text"))
        texts.append(fields.need("text").text())
    return "\n".join(texts)


def messages(asked: Fields) -> list[Message]:
    """The messages of `systemInstruction` and `contents`. Raises `Refused`."""
    system = asked.get("systemInstruction")
    out: list[Message] = []
    if system is not None:
        out.append({"role": "system", "content": text_of(system)})
    conversation = _Conversation()
    for content in asked.need("contents").items():
        fields = content.fields()
        role = fields.get("role")
        parts = fields.get("parts")
        taken = [] if parts is None else parts.items()
        if role is not None and role.text() and role.choice(_ROLES) == "model":
            out.append(conversation.model_turn(taken))
        else:
            out += conversation.user_turn(taken)
    return out


class _Conversation:
    """Gives calls their ids: Google's have none as a rule, a tool message must name its call."""

    def __init__(self) -> None:
        self._calls = 0
        self._open: dict[str, list[str]] = {}
        """By function: the ids of calls that have no response yet."""

    def model_turn(self, parts: list[Value]) -> Message:
        content: list[Message] = []
        calls: list[Message] = []
        for part in parts:
            fields = part.fields()
            call = fields.get("functionCall")
            if call is not None:
                calls.append(self._call(call.fields()))
            else:
                content += _content(part, fields)
        message: Message = {"role": "assistant", "content": _plain(content)}
        if calls:
            message["tool_calls"] = calls
            if not content:
                message["content"] = None
        return message

    def user_turn(self, parts: list[Value]) -> list[Message]:
        """Responses to calls, each a message of its own, and the rest as one."""
        out: list[Message] = []
        content: list[Message] = []
        for part in parts:
            fields = part.fields()
            response = fields.get("functionResponse")
            if response is not None:
                out.append(self._response(response))
            else:
                content += _content(part, fields)
        if content or not out:
            out.append({"role": "user", "content": _plain(content)})
        return out

    def _call(self, call: Fields) -> Message:
        self._calls += 1
        name = call.need("name").text()
        given = call.get("id")
        call_id = given.text() if given is not None and given.text() else f"call_{self._calls}"
        self._open.setdefault(name, []).append(call_id)
        arguments = call.get("args")
        return {
            "id": call_id,
            "type": "function",
            "function": {
                "name": name,
                "arguments": "{}" if arguments is None else str(arguments.object_raw(), "utf-8"),
            },
        }

    def _response(self, response: Value) -> Message:
        fields = response.fields()
        fields.refuse("parts")
        given = fields.get("id")
        waiting = self._open.get(fields.need("name").text(), [])
        if given is not None and given.text():
            call_id = given.text()
            if call_id in waiting:
                waiting.remove(call_id)
        elif waiting:
            call_id = waiting.pop(0)
        else:
            raise response.refused("no functionCall of this name comes before")
        said = fields.get("response")
        text = "{}" if said is None else str(said.object_raw(), "utf-8")
        return {"role": "tool", "tool_call_id": call_id, "content": text}


def _plain(content: list[Message]) -> object:
    """One text as a string: every upstream takes that, not every one a list."""
    if not content:
        return ""
    if len(content) == 1 and content[0]["type"] == "text":
        return content[0]["text"]
    return content


def _content(part: Value, fields: Fields) -> list[Message]:
    """The content blocks of a part; none for a thought, or for nothing but a signature."""
    fields.refuse(*_FOREIGN_PARTS)
    thought = fields.get("thought")
    if thought is not None and thought.flag():
        return []
    text = fields.get("text")
    if text is not None:
        return [{"type": "text", "text": text.text_raw()}]
    inline = fields.get("inlineData")
    if inline is not None:
        return [_inline(inline.fields())]
    file = fields.get("fileData")
    if file is not None:
        return [_file(file.fields())]
    if "thoughtSignature" in fields:
        return []
    raise part.refused("this part holds nothing that is supported here")


def _inline(blob: Fields) -> Message:
    mime_type = blob.need("mimeType").text().lower()
    kind, _, subtype = mime_type.partition("/")
    data = blob.need("data").content_raw().translate(_STANDARD_ALPHABET)
    if kind == "audio":
        sound = {"data": _quoted(data), "format": _AUDIO_FORMATS.get(subtype, subtype)}
        return {"type": "input_audio", "input_audio": sound}
    url = _quoted(b"data:%b;base64,%b" % (blob.need("mimeType").content_raw(), data))
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    name = blob.get("displayName")
    filename = "file" if name is None else name.text_raw()
    return {"type": "file", "file": {"filename": filename, "file_data": url}}


def _quoted(escaped: bytes) -> msgspec.Raw:
    return msgspec.Raw(b'"%b"' % escaped)


def _file(file: Fields) -> Message:
    uri = file.need("fileUri")
    mime_type = file.get("mimeType")
    is_image = mime_type is None or mime_type.text().startswith("image/")
    if not is_image or not uri.text().startswith(("https://", "http://")):
        raise uri.refused("only images can be named by their address here, and only over http(s)")
    return {"type": "image_url", "image_url": {"url": uri.text_raw()}}
