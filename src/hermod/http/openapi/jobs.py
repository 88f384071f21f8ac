"""`/v1/async/…`: a job for every request type (wire-contract 1)."""

from typing import Any, Final

from hermod.http.openapi.answers import (
    LOCATION,
    NO_STORE,
    POLL_LATER,
    WITH_BODY,
    WITH_CREDENTIAL,
    errors,
    json_answer,
    schema,
)
from hermod.http.openapi.bodies import native_body
from hermod.http.openapi.naming import result_name, spoken
from hermod.http.openapi.parameters import SUBMIT, parameters
from hermod.kinds.kind import AnyKind

Json = dict[str, Any]

_PENDING: Final[Json] = {
    "id": "01a1fe9e-3244-740c-af40-363916cd2494",
    "status": "pending",
    "created_at": "2026-11-21T14:59:02.852088Z",
}
_FAILED: Final[Json] = {
    **_PENDING,
    "status": "failed",
    "expires_at": "2026-11-21T15:59:03.340512Z",
    "completed_at": "2026-11-21T14:59:03.340512Z",
    "status_code": 429,
    "error": {
        "is_bifrost_error": False,
        "status_code": 429,
        "error": {"type": "rate_limit_error", "message": "rate limit exceeded"},
        "extra_fields": {"provider": "openai", "model_requested": "gpt-4o-mini"},
    },
}


def async_job_paths(kind: AnyKind) -> Json:
    """Submit and poll."""
    path = f"/v1/async/{kind.path}"
    return {path: {"post": _submit(kind)}, path + "/{job_id}": {"get": _poll(kind)}}


def _submit(kind: AnyKind) -> Json:
    poll: Json = {
        "operationId": f"get_{kind.request_type}",
        "parameters": {"job_id": "$response.body#/id"},
    }
    accepted = json_answer(
        "The job is stored and will be carried out, whatever happens to the gateway. Poll it.",
        schema("UnfinishedJob"),
        NO_STORE | POLL_LATER | LOCATION,
        _PENDING,
    )
    return {
        "operationId": f"submit_{kind.request_type}",
        "tags": ["Async jobs"],
        "summary": f"Create async {spoken(kind)}",
        "parameters": parameters(*SUBMIT),
        "requestBody": native_body(kind, streams=False),
        "responses": {"202": accepted | {"links": {"poll": poll}}, **errors(*WITH_BODY)},
    }


def _poll(kind: AnyKind) -> Json:
    result = {"type": "object", "properties": {"result": schema(result_name(kind))}}
    return {
        "operationId": f"get_{kind.request_type}",
        "tags": ["Async jobs"],
        "summary": f"Get async {spoken(kind)} job",
        "parameters": parameters("JobId"),
        "responses": {
            "200": json_answer(
                "The job has ended: `completed` with a `result`, or `failed` with an `error`.",
                {"allOf": [schema("FinishedJob"), result]},
                NO_STORE,
                _FAILED,
            ),
            "202": json_answer(
                "The job waits or runs. Poll again.",
                schema("UnfinishedJob"),
                NO_STORE | POLL_LATER,
                _PENDING | {"status": "processing"},
            ),
            **errors(*WITH_CREDENTIAL, 404),
        },
    }
