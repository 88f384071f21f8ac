"""Amazon Bedrock's dialect of chat: Converse and ConverseStream.

Source: Amazon Bedrock API reference, "Converse", "ConverseStream", "Common errors".
"""

from typing import Final

import msgspec

from hermod.domain.failure import Failure
from hermod.kinds import json_guard
from hermod.kinds.kind import AnyKind
from hermod.providers import upstream_errors
from hermod.providers.adapter import Dialect, Outgoing, Prepared
from hermod.providers.bedrock import reply as bedrock_reply
from hermod.providers.bedrock.model import path_of
from hermod.providers.bedrock.request import converse_body
from hermod.providers.bedrock.stream import open_stream
from hermod.providers.lenient import members, text

_DEPTH_MAX: Final = 32
_ERROR_MAX: Final = 1 << 18
_NAME_MAX: Final = 256


def build(kind: AnyKind, outgoing: Outgoing) -> Prepared:
    """See `Dialect.build`."""
    body, dropped = converse_body(kind, outgoing)
    path = path_of(outgoing, "converse-stream" if outgoing.stream else "converse")
    return Prepared("application/json", msgspec.json.encode(body), path, dropped=dropped)


def refusal(status: int, content_type: str | None, body: bytes) -> Failure:
    """See `Dialect.refusal`. AWS names the error in `__type`, and some of it says `Message`."""
    found = upstream_errors.refusal(status, content_type, body)
    if len(body) > _ERROR_MAX or json_guard.problem(body, _DEPTH_MAX) is not None:
        return found
    try:
        told = members(msgspec.json.decode(body))
    except msgspec.DecodeError:
        return found
    # `com.amazon.coral.service#ThrottlingException`, or with an address after a colon.
    name = text(told.get("__type")).rpartition("#")[2].partition(":")[0][:_NAME_MAX]
    said = text(told.get("message")) or text(told.get("Message"))
    return Failure(
        upstream_errors.shown(said.encode("utf-8", "replace")) if said else found.message,
        status_code=status,
        error_type=name or found.error_type,
        code=found.code,
        param=found.param,
    )


DIALECT: Final = Dialect("bedrock", build, bedrock_reply.read, refusal, open_stream)
"""Chat on Amazon Bedrock."""
