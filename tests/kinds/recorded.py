"""The recorded examples: a request as a client sends it, what goes on, and what comes back.

In a file, a form is its `fields` and `files`; bytes are written as the characters of the same
number. A reply that is no JSON has its `content_type`; the `result` it becomes stands beside it.
"""

import json
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Any, NamedTuple

from hermod.kinds.form import FilePart, Form
from hermod.kinds.kind import AnyKind, FormKind

EXAMPLES = Path(__file__).parent / "examples"
_BOUNDARY = "recorded-form"


class Recorded(NamedTuple):
    """One example."""

    request: Any
    """An object, or the `fields` and `files` of a form."""
    sent: Any
    """The same as the upstream gets it."""
    body: bytes
    """The request as it arrives."""
    content_type: str | None
    """Of a form; None for JSON."""
    form: Form | None
    """What it holds."""
    model: str
    """As the client writes it, with the provider."""
    reply: bytes
    reply_type: str
    result: dict[str, Any]
    """Without `extra_fields`."""


def recorded(kind: AnyKind) -> Recorded:
    """The example of a kind."""
    example = json.loads((EXAMPLES / f"{kind.request_type}.json").read_text("utf-8"))
    request = example["request"]
    reply, reply_type = json.dumps(example["reply"]).encode(), "application/json"
    if "result" in example:
        reply = example["reply"]["content"].encode("latin-1")
        reply_type = example["reply"]["content_type"]
    return Recorded(
        request=request,
        sent=example["sent"],
        body=_multipart(request) if isinstance(kind, FormKind) else json.dumps(request).encode(),
        content_type=_form_type() if isinstance(kind, FormKind) else None,
        form=_form(request) if isinstance(kind, FormKind) else None,
        model=(dict(request["fields"]) if isinstance(kind, FormKind) else request)["model"],
        reply=reply,
        reply_type=reply_type,
        result=example.get("result", example["reply"]),
    )


def sent_model(recording: Recorded) -> str:
    """The model as the upstream knows it."""
    return recording.model.partition("/")[2]


def parts_of(body: bytes, content_type: str) -> dict[str, Any]:
    """A multipart body as a recorded one, read by a parser that shares no code with ours."""
    message = BytesParser().parsebytes(
        b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), body)
    )
    found: dict[str, Any] = {"fields": [], "files": []}
    for part in _parts(message):
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is None:
            found["fields"].append([name, content.decode()])
            continue
        found["files"].append({
            "name": name,
            "filename": part.get_filename(),
            "content_type": part.get_content_type(),
            "content": content.decode("latin-1"),
        })  # fmt: skip
    return found


def _parts(message: Message) -> Iterator[Message]:
    payload = message.get_payload()
    assert isinstance(payload, list)
    for part in payload:
        assert isinstance(part, Message)
        yield part


def _form(request: Mapping[str, Any]) -> Form:
    files = (
        FilePart(each["name"], each["filename"], each["content_type"], len(each["content"]))
        for each in request["files"]
    )
    return Form(tuple((name, value) for name, value in request["fields"]), tuple(files))


def _form_type() -> str:
    return f"multipart/form-data; boundary={_BOUNDARY}"


def _multipart(request: Mapping[str, Any]) -> bytes:
    parts = [
        f'form-data; name="{name}"\r\n\r\n{value}'.encode() for name, value in request["fields"]
    ]
    parts += [
        f'form-data; name="{file["name"]}"; filename="{file["filename"]}"\r\n'
        f"Content-Type: {file['content_type']}\r\n\r\n".encode()
        + file["content"].encode("latin-1")
        for file in request["files"]
    ]
    opening = f"--{_BOUNDARY}\r\nContent-Disposition: ".encode()
    return b"".join(opening + part + b"\r\n" for part in parts) + f"--{_BOUNDARY}--\r\n".encode()
