"""Recorded calls of every provider: what a client asks, what is sent, what comes back and what it
becomes.

A file is `examples/<provider>/<request_type>[.<case>].json`, its texts are ours, its shape is the
vendor's, whose page stands under `source`. Bytes are base64, forms are `fields` and `files`.
Where `sent` has neither body nor fields, what was asked is sent with the upstream's name of the
model; where there is neither `answer` nor `error`, the reply is the answer as it is.
"""

import base64
import json
from collections.abc import Mapping
from email.parser import BytesParser
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from hermod.domain.failure import Failure
from hermod.domain.provider import KeySettings, ProviderSettings
from hermod.kinds.kind import AnyKind, FormKind
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, Dialect, Outgoing, Prepared
from hermod.providers.adapters import dialect_of
from hermod.providers.prepare import upstream_model
from hermod.providers.registry import endpoint
from hermod.providers.upstream_errors import refusal
from tests.support.config import read

EXAMPLES = Path(__file__).parent / "examples"
NOW_S = 1_790_000_000
"""When every example is answered."""
_BOUNDARY = "recorded-form"


class Example(NamedTuple):
    """One recorded call."""

    provider: str
    kind: AnyKind
    case: str
    told: Mapping[str, Any]
    """The file."""

    @property
    def outgoing(self) -> Outgoing:
        """The request as the caller of a dialect hands it over."""
        settings = settings_of(self.provider, json.dumps(self.told.get("key", {})))
        key = settings.keys[0] if settings.keys else None
        body, content_type = _body(self.kind, self.told)
        return Outgoing(
            body,
            content_type,
            upstream_model(key, self.told["model"]),
            self.told.get("forward_unknown", True),
            "made-for-the-upstream",
            settings,
            key,
            stream=self.told.get("stream", False),
            drop_unsupported=self.told.get("drop_unsupported", False),
            now_s=NOW_S,
        )

    @property
    def dialect(self) -> Dialect:
        """What it is written in."""
        return dialect_of(settings_of(self.provider).row, self.kind.request_type)

    def build(self) -> Prepared:
        """The request for the upstream."""
        return self.dialect.build(self.kind, self.outgoing)

    def path_of(self, prepared: Prepared) -> str:
        """Path and query of its URL."""
        outgoing = self.outgoing
        assert outgoing.provider is not None
        url = endpoint(
            outgoing.provider,
            self.kind.request_type,
            outgoing.key,
            model=outgoing.model,
            path=prepared.path,
            stream=outgoing.stream,
        )
        assert url is not None
        parts = urlsplit(url)
        return f"{parts.path}?{parts.query}" if parts.query else parts.path

    @property
    def reply(self) -> tuple[int, str, bytes]:
        """Status, content type and body of what comes back."""
        reply = self.told["reply"]
        if "base64" in reply:
            body = base64.b64decode(reply["base64"])
        elif "text" in reply:
            body = reply["text"].encode()
        else:
            body = json.dumps(reply["body"], ensure_ascii=False).encode()
        return reply.get("status", 200), reply.get("content_type", "application/json"), body

    def read(self) -> Answered | Failure:
        """What the reply comes to."""
        status, content_type, body = self.reply
        if status >= 400:
            return (self.dialect.refusal or refusal)(status, content_type, body)
        return self.dialect.read(self.kind, self.outgoing, content_type, body)


@cache
def settings_of(provider: str, key: str = "{}") -> ProviderSettings:
    """A provider with one key, as a config file gives it."""
    members = {"name": "main", "value": "sk-example", **json.loads(key)}
    config = {"providers": {provider: {"keys": [members]}}}
    with TemporaryDirectory() as folder:
        return read(Path(folder), config).settings.providers[provider]


def key_of(provider: str, **members: Any) -> KeySettings:
    """One key of a provider, as a config file gives it."""
    return settings_of(provider, json.dumps(members)).keys[0]


def examples() -> list[Example]:
    """Every file."""
    found: list[Example] = []
    for path in sorted(EXAMPLES.glob("*/*.json")):
        request_type, _, case = path.stem.partition(".")
        told = json.loads(path.read_text("utf-8"))
        found.append(Example(path.parent.name, KIND_BY_TYPE[request_type], case, told))
    return found


def parts_of(body: bytes, content_type: str) -> dict[str, Any]:
    """A form as `fields` and `files`, read by a parser that shares no code with ours."""
    message = BytesParser().parsebytes(
        b"Content-Type: %b\r\n\r\n%b" % (content_type.encode(), body)
    )
    fields: dict[str, Any] = {}
    files: dict[str, Any] = {}
    for part in message.walk():
        if part.is_multipart():
            continue
        name = str(part.get_param("name", header="content-disposition"))
        content = part.get_payload(decode=True)
        assert isinstance(content, bytes)
        if part.get_filename() is None:
            fields[name] = content.decode()
        else:
            files[name] = {
                "filename": part.get_filename(),
                "content_type": part.get_content_type(),
                "text": content.decode("latin-1"),
            }
    return {"fields": fields, "files": files}


def _body(kind: AnyKind, told: Mapping[str, Any]) -> tuple[bytes, str | None]:
    model = f"any/{told['model']}"
    if not isinstance(kind, FormKind):
        return json.dumps({"model": model, **told["asked"]}, ensure_ascii=False).encode(), None
    lines: list[bytes] = []
    for name, value in {"model": model, **told["asked"].get("fields", {})}.items():
        lines += [
            f"--{_BOUNDARY}".encode(),
            f'Content-Disposition: form-data; name="{name}"'.encode(),
            b"",
            value.encode(),
        ]
    for name, file in told["asked"].get("files", {}).items():
        disposition = f'form-data; name="{name}"; filename="{file["filename"]}"'
        lines += [
            f"--{_BOUNDARY}".encode(),
            f"Content-Disposition: {disposition}".encode(),
            f"Content-Type: {file['content_type']}".encode(),
            b"",
            file["text"].encode("latin-1"),
        ]
    lines += [f"--{_BOUNDARY}--".encode(), b""]
    return b"\r\n".join(lines), f"multipart/form-data; boundary={_BOUNDARY}"
