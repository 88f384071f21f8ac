"""OpenAI's own shapes around stored jobs: placeholders, and responses in background mode."""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from hermod.domain.job import State
from hermod.doors import told
from hermod.kinds.response_object import ECHOED, UNSAID, error_code

_ID_PREFIX: Final = "resp_"
_is_response_id: Final = re.compile(r"resp_([0-9a-fA-F]{32})").fullmatch
_is_uuid: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}").fullmatch

_STATUSES: Final[Mapping[State, str]] = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.WAITING: "in_progress",
    State.COMPLETED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.EXPIRED: "failed",
}
_OWN_STATUSES: Final = frozenset({"completed", "incomplete"})
"""Those that a result keeps."""


def placeholder_response(job_id: str, status: str, model: str | None, created_at_s: int) -> bytes:
    """The answer of the async protocol while a job is not done (wire-contract 6.2).

    `status` is the job's own, `pending` or `processing`.
    """
    return msgspec.json.encode(
        {
            "id": job_id,
            "object": "response",
            "created_at": created_at_s,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            **UNSAID,
            "model": model or "",
            "output": (),
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
        }
    )


def placeholder_chat(job_id: str, model: str | None, created_s: int) -> bytes:
    """The same for chat completions: one without choices."""
    return msgspec.json.encode(
        {
            "id": job_id,
            "object": "chat.completion",
            "created": created_s,
            "model": model or "",
            "choices": (),
        }
    )


def response_id(job_id: str) -> str:
    """The id under which a job is a response in background mode (design.md 8, 5)."""
    return _ID_PREFIX + job_id.replace("-", "")


def job_id_of(text: str) -> str | None:
    """The id of the job that `text` names, as a response or by its own id; else None."""
    named = _is_response_id(text)
    if named is not None:
        digits = named[1].lower()
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
    return text.lower() if _is_uuid(text) else None


def background_response(
    state: State,
    *,
    job_id: str,
    created_at_s: int,
    completed_at_s: int | None,
    model: str,
    result: bytes | None = None,
    error: bytes | None = None,
    request: bytes | None = None,
) -> bytes:
    """The Response object of a job in background mode.

    A result shows as it was stored, under the job's id; everything else repeats the request, where
    it is given. `error` is the BifrostError of a failed job. Never raises.
    """
    response = _unfinished(model, request)
    if result is not None:
        response |= told.members_with_nulls(result)
    response["id"] = response_id(job_id)
    response["object"] = "response"
    response["created_at"] = created_at_s
    response["background"] = True
    response["status"] = _STATUSES[state]
    if state is State.COMPLETED:
        own = told.text(told.members(result).get("status"))
        response["status"] = own if own in _OWN_STATUSES else "completed"
        if response["status"] == "completed" and completed_at_s is not None:
            response["completed_at"] = completed_at_s
    elif response["status"] == "failed":
        response["error"] = _error(error)
    return msgspec.json.encode(response)


def _unfinished(model: str, request: bytes | None) -> dict[str, object]:
    asked = told.members(request)
    echoed = {name: asked[name] for name in ECHOED if name in asked}
    return {
        "id": "",
        "object": "response",
        "created_at": 0,
        "status": "",
        "background": True,
        "error": None,
        "incomplete_details": None,
        **UNSAID,
        **echoed,
        "model": model,
        "output": (),
        "usage": None,
    }


def _error(failure: bytes | None) -> dict[str, object]:
    status, _, code, message = told.error_of(failure)
    return {"code": error_code(code, status), "message": message}
