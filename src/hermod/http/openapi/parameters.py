"""The request headers and path segments that the gateway acts on (wire-contract 2)."""

from typing import Any, Final

Json = dict[str, Any]

PATH_SCHEMA: Final[Json] = {"type": "string", "pattern": r"^[^/\\\x00-\x1f\x7f]+$"}
"""A segment of a path: what proxies may read differently is refused."""


def _header(name: str, description: str, **schema: object) -> Json:
    # No example: the page would fill it in, and send it.
    return {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", **schema},
    }


def _path(name: str, description: str) -> Json:
    return {
        "name": name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": PATH_SCHEMA,
    }


_RAW: Final = (
    ("x-bf-send-back-raw-request", "show the upstream's request in `extra_fields`"),
    ("x-bf-send-back-raw-response", "show the upstream's answer in `extra_fields`"),
    ("x-bf-store-raw-request-response", "keep both with the job"),
    ("x-bf-disable-content-logging", "keep texts out of logs"),
)

PARAMETERS: Final[dict[str, Json]] = {
    "ResultTtl": _header(
        "x-bf-async-job-result-ttl",
        "Seconds the result is kept after the job has ended. Anything but a positive integer means "
        "the gateway's default, 3600 unless configured.",
    ),
    "OnUnknown": _header(
        "x-hermod-on-unknown",
        "What to do when a worker is lost while its upstream call is out, so that nobody knows "
        "whether it was carried out: `retry` it (the default) or `fail` the job.",
        enum=["retry", "fail"],
    ),
    "RequestId": _header(
        "x-request-id",
        "Shown with the job as `request_id`. Ignored if empty or longer than 256 characters.",
    ),
    "Passthrough": _header(
        "x-bf-passthrough-extra-params",
        "`true` sends fields that are not described here to the upstream, anything else does not.",
    ),
    "KeyName": _header("x-bf-api-key", "The name of the configured provider key to use."),
    "KeyId": _header("x-bf-api-key-id", "The same by its id, which wins over the name."),
    "DirectKey": _header(
        "x-bf-direct-key",
        "Where keys of callers are allowed (`client.allow_direct_keys`): `false` says that the key "
        "in the request is none for the upstream, `true` that it is, even if it looks like a JWT.",
    ),
    "SessionId": _header("x-bf-session-id", "Calls of one session use the same provider key."),
    "SessionTtl": _header(
        "x-bf-session-ttl", "How long they do: seconds, or a duration as in `1h30m`."
    ),
    "ParentRequestId": _header("x-bf-parent-request-id", "Groups requests in the log."),
    "Traceparent": _header("traceparent", "W3C Trace Context."),
    "Baggage": _header("baggage", "W3C Baggage."),
    **{
        "".join(part.title() for part in name.split("-")[2:]): _header(
            name, f"`true` or `false`: whether to {what}."
        )
        for name, what in _RAW
    },
    "Async": _header(
        "x-bf-async",
        "With any value the call becomes a job, whose id the answer carries. Streams cannot be "
        "asked for.",
    ),
    "AsyncId": _header(
        "x-bf-async-id",
        "Fetches this job instead of calling anything; the body is not looked at.",
        minLength=1,
    ),
    "Provider": {
        "name": "provider",
        "in": "query",
        "description": "Only the models of this one.",
        "schema": {"type": "string"},
    },
    "Alt": {
        "name": "alt",
        "in": "query",
        "description": "`sse` for server-sent events; anything else for one array that grows.",
        "schema": {"type": "string"},
    },
    "JobId": _path("job_id", "The `id` of a job of this type. Opaque."),
    "ResponseId": _path("response_id", "The `id` of a background response. Opaque."),
    "Model": _path(
        "model",
        "A model. The slash behind its provider is sent as it is (OpenAPI has no word for it).",
    ),
}

CALL: Final = (
    "RequestId",
    "Passthrough",
    "KeyName",
    "KeyId",
    "DirectKey",
    "SessionId",
    "SessionTtl",
    "ParentRequestId",
    *("".join(part.title() for part in name.split("-")[2:]) for name, _ in _RAW),
    "Traceparent",
    "Baggage",
)
"""Of every request that leads to a call of an upstream."""
SUBMIT: Final = ("ResultTtl", "OnUnknown", *CALL)
DOOR_WITH_JOBS: Final = ("Async", "AsyncId", *SUBMIT)


def parameters(*names: str) -> list[Json]:
    """References to parameters of the document."""
    return [{"$ref": f"#/components/parameters/{name}"} for name in names]
