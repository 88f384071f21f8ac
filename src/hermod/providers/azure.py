"""Azure OpenAI: OpenAI's dialect under Azure's paths, with deployments for models.

Paths: Microsoft's "Azure OpenAI in Microsoft Foundry Models v1 API" (no version to name) and "REST
API reference" (`/openai/deployments/{deployment}/…?api-version=…`), which is still the only one
that transcribes: under v1 deployments of Whisper are not found. Claude: "Claude in Microsoft
Foundry", Anthropic's Messages under `/anthropic`.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds.kind import AnyKind
from hermod.kinds.own_words import Words
from hermod.providers import openai_shaped
from hermod.providers.adapter import Dialect, Outgoing, Prepared, StreamTranslator
from hermod.providers.anthropic import dialect as anthropic
from hermod.providers.anthropic.request import messages_body
from hermod.providers.as_it_comes import AsItComes
from hermod.providers.bridge.bridge import responses_over
from hermod.providers.lenient import members
from hermod.providers.upstream_errors import TEXT_MAX, told_by
from hermod.providers.upstream_errors import refusal as usual_refusal

_is_date: Final = re.compile(r"20[0-9]{2}-[0-9]{2}-[0-9]{2}(?:-preview)?").fullmatch
_MESSAGES: Final = "/anthropic/v1/messages"
_UNDATED: Final = {"transcription": "2025-03-01-preview"}
"""Request types that v1 lacks, and the version of the dated API that has them."""
_DATED: Final = {
    "chat_completion": "chat/completions",
    "text_completion": "completions",
    "embedding": "embeddings",
    "speech": "audio/speech",
    "transcription": "audio/transcriptions",
    "image_generation": "images/generations",
    "image_edit": "images/edits",
}
"""Below a deployment."""


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    prepared = openai_shaped.build(kind, outgoing)
    return prepared._replace(path=_path(kind.request_type, outgoing))


def _path(request_type: str, outgoing: Outgoing) -> str | None:
    """None where the table's path, v1's, is the one."""
    azure = outgoing.key.azure if outgoing.key is not None else None
    version = (azure.api_version if azure is not None else None) or ""
    if not _is_date(version):
        version = _UNDATED.get(request_type, "")
        if not version:
            return None
    operation = _DATED.get(request_type)
    if operation is None:
        return f"/openai/{request_type}?api-version={version}"
    return f"/openai/deployments/{{model}}/{operation}?api-version={version}"


def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
    """See `Dialect.refusal`. What the content filter found is kept as the cause."""
    failure = usual_refusal(status, content_type, body)
    if b'"innererror"' not in body or told_by(body) is None:
        return failure
    inner = members(members(members(msgspec.json.decode(body)).get("error")).get("innererror"))
    if not inner:
        return failure
    return replace(failure, cause=msgspec.json.encode(inner).decode()[:TEXT_MAX])


DIALECT: Final = Dialect("azure", build, openai_shaped.read, refusal)
"""OpenAI's, as Azure serves it."""


def _claude_behind(outgoing: Outgoing) -> str | None:
    """Which Claude is behind a deployment, as far as its name or the client's says."""
    aliases: Mapping[str, str] = outgoing.key.aliases if outgoing.key is not None else {}
    names = [name for name, deployment in aliases.items() if deployment == outgoing.model]
    return next((name for name in (*names, outgoing.model) if "claude" in name.lower()), None)


def _build_claude(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    made = messages_body(kind, outgoing, model=_claude_behind(outgoing))
    return Prepared(
        "application/json",
        msgspec.json.encode(made.body),
        path=_MESSAGES,
        headers=(anthropic.VERSION,),
        dropped=made.dropped,
    )


def _is_claude(outgoing: Outgoing) -> bool:
    return _claude_behind(outgoing) is not None


def _build_own(outgoing: Outgoing, words: Words) -> Prepared:
    body = anthropic.own_body(outgoing, words)
    headers = anthropic.own_headers(words)
    return Prepared("application/json", body, path=_MESSAGES, headers=headers)


_CLAUDE: Final = replace(anthropic.DIALECT, build=_build_claude)
_OWN: Final = replace(
    anthropic.OWN,
    speaks=_is_claude,
    build=_build_own,
)


def _fork(name: str, usual: Dialect, claudes: Dialect) -> Dialect:
    """One dialect for Claude, another for all others."""

    def one_of(outgoing: Outgoing) -> Dialect:
        return usual if _claude_behind(outgoing) is None else claudes

    def open_stream(kind: AnyKind, outgoing: Outgoing) -> StreamTranslator:
        """See `Dialect.open_stream`."""
        opened = one_of(outgoing).open_stream
        return AsItComes() if opened is None else opened(kind, outgoing)

    return Dialect(
        name,
        lambda kind, outgoing: one_of(outgoing).build(kind, outgoing),
        lambda kind, outgoing, label, body: one_of(outgoing).read(kind, outgoing, label, body),
        refusal,
        open_stream,
        own=(_OWN,),
    )


CHAT_DIALECT: Final = _fork("azure_chat", DIALECT, _CLAUDE)
"""Chat, with Claude or another model."""
RESPONSES_DIALECT: Final = _fork("azure_responses", DIALECT, responses_over(_CLAUDE))
"""Responses, which Claude answers as chat."""
