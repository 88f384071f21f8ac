"""What went wrong, in the wire's shape (wire-contract 4.1)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Final, Self, cast

_SHOWN_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Failure:
    """A BifrostError before it becomes JSON.

    `status_code` None means that none is known: a job then shows 500, a synchronous route 400 or
    500 (wire-contract 4.2).
    """

    message: str
    status_code: int | None = None
    type: str | None = None
    """Top level: a decision of the gateway."""
    error_type: str | None = None
    code: str | None = None
    param: object = None
    event_id: str | None = None
    cause: str | None = None
    from_gateway: bool = False
    """`is_bifrost_error`: made inside the gateway's core (timeouts, cancellations)."""
    provider: str | None = None
    model: str | None = None
    request_type: str | None = None
    raw_request: object = None
    raw_response: object = None
    """What was sent and what came, where the caller asked to see it; JSON values."""

    @classmethod
    def of_json(cls, members: Mapping[str, Any]) -> Self:
        """What `to_json` wrote, decoded."""
        error = cast("Mapping[str, Any]", members.get("error") or {})
        extra = cast("Mapping[str, Any]", members.get("extra_fields") or {})
        return cls(
            message=str(error.get("message", "")),
            status_code=members.get("status_code"),
            type=members.get("type"),
            error_type=error.get("type"),
            code=error.get("code"),
            param=error.get("param"),
            event_id=error.get("event_id"),
            cause=error.get("error"),
            from_gateway=members.get("is_bifrost_error") is True,
            provider=extra.get("provider"),
            model=extra.get("model_requested"),
            request_type=extra.get("request_type"),
            raw_request=extra.get("raw_request"),
            raw_response=extra.get("raw_response"),
        )

    def of(self, *, provider: str, model: str, request_type: str) -> Self:
        """The same failure, saying on which call it happened."""
        return replace(self, provider=provider, model=model, request_type=request_type)

    def showing(self, request: bytes | None, response: bytes | None) -> Self:
        """The same failure with what the upstream saw and said, where that is given."""
        if request is None and response is None:
            return self
        return replace(self, raw_request=_value(request), raw_response=_value(response))

    def to_json(self) -> bytes:
        """The BifrostError. Absent members are left out, never null."""
        error = {
            "type": self.error_type,
            "code": self.code,
            "message": self.message,
            "param": self.param,
            "event_id": self.event_id,
            "error": self.cause,
        }
        extra = {
            "provider": self.provider,
            "model_requested": self.model,
            "request_type": self.request_type,
            "raw_request": self.raw_request,
            "raw_response": self.raw_response,
        }
        whole = {
            "event_id": self.event_id,
            "type": self.type,
            "is_bifrost_error": self.from_gateway,
            "status_code": self.status_code,
            "error": {name: value for name, value in error.items() if value is not None},
            "extra_fields": {name: value for name, value in extra.items() if value is not None},
        }
        present = {name: value for name, value in whole.items() if value is not None}
        return json.dumps(present, ensure_ascii=False, separators=(",", ":")).encode(
            "utf-8", "backslashreplace"
        )


def _value(raw: bytes | None) -> object:
    """A body as a JSON value; what is no JSON as a text."""
    if raw is None:
        return None
    try:
        return json.loads(raw, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        return raw[:_SHOWN_BYTES].decode("utf-8", "replace")


def _finite(number: str) -> float:
    """Raises ValueError for what could not be written again: JSON has no infinity."""
    if not isfinite(value := float(number)):
        raise ValueError(number)
    return value
