"""What went wrong, in the wire's shape (wire-contract 4.1)."""

import json
from dataclasses import dataclass, replace
from typing import Self


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

    def of(self, *, provider: str, model: str, request_type: str) -> Self:
        """The same failure, saying on which call it happened."""
        return replace(self, provider=provider, model=model, request_type=request_type)

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
