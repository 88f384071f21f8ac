"""What an operation may answer, and the headers that go with it."""

from typing import Any, Final

Json = dict[str, Any]

ANYWHERE: Final = (400, 403, 408, 414, 431, 500, 503)
"""Any request can be refused so, before or after it is known where it goes."""
WITH_CREDENTIAL: Final = (*ANYWHERE, 401)
WITH_BODY: Final = (*WITH_CREDENTIAL, 413, 415, 507)
"""A request that is read and stored."""

_TEXTS: Final = {
    400: "The request is malformed, or something is missing; the message says what.",
    401: "A credential is required, and is missing or wrong.",
    403: "A virtual key that there is not, a browser page that may not call, or, below `/api`, a "
    "caller who is no admin.",
    404: "There is none for this caller: it never was, it has expired, it belongs to another type "
    "or to somebody else. All four look the same.",
    408: "The request came too slowly. The connection is closed.",
    409: "The name is taken, the config file has the last word on it, or somebody else was faster.",
    413: "The body is larger than `client.max_request_body_size_mb`.",
    414: "The request target is too long.",
    415: "The `Content-Encoding` is none of gzip, deflate, br, zstd.",
    429: "The upstream, or a limit, wants fewer requests.",
    431: "The request headers are too large or too many.",
    500: "A defect of the gateway.",
    501: "This gateway does not have it.",
    503: "Shutting down, overloaded, or the database does not answer: try again.",
    507: "The disk of the database is full. What was stored before can still be fetched.",
}
_SAID: Final = {
    400: "model should be in provider/model format",
    403: "Virtual key not found",
    404: "job not found or expired",
    500: "internal error",
    503: "the gateway is shutting down",
}
"""Messages as they are, for examples."""
_RETRY_AFTER: Final = {
    "Retry-After": {
        "description": "Seconds to wait before the next try.",
        "schema": {"type": "integer", "minimum": 1},
    }
}
_HEADERS: Final[dict[int, Json]] = {
    401: {
        "WWW-Authenticate": {
            "description": "How to authenticate.",
            "schema": {"type": "string", "pattern": "^Bearer"},
        }
    },
    429: _RETRY_AFTER,
    503: _RETRY_AFTER,
    507: _RETRY_AFTER,
}

NO_STORE: Final[Json] = {
    "Cache-Control": {
        "description": "No cache may keep it.",
        "required": True,
        "schema": {"const": "no-store"},
    }
}
POLL_LATER: Final[Json] = {
    "Retry-After": {
        "description": "Seconds to wait before the next poll.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    }
}
LOCATION: Final[Json] = {
    "Location": {
        "description": "Where to poll the job, as a path on this host.",
        "required": True,
        "schema": {"type": "string", "format": "uri-reference"},
    }
}
JOB_OF_CALL: Final[Json] = {
    "x-hermod-job": {
        "description": "The id under which the call is on record.",
        "schema": {"type": "string", "format": "uuid"},
    }
}
ASYNC_ID: Final[Json] = {
    "x-bf-async-id": {
        "description": "The id of the job, where the request created or polled one.",
        "schema": {"type": "string", "format": "uuid"},
    }
}
NO_RETRY: Final[Json] = {
    "x-should-retry": {
        "description": "`false` once the response has failed: asking again will not help an SDK.",
        "schema": {"const": "false"},
    }
}


def schema(name: str) -> Json:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def json_answer(
    description: str, shape: Json, headers: Json | None = None, example: Json | None = None
) -> Json:
    """An answer in JSON."""
    content: Json = {"schema": shape} | ({"example": example} if example else {})
    return answer(description, {"application/json": content}, headers)


def answer(description: str, content: Json, headers: Json | None = None) -> Json:
    """An answer of any type."""
    whole: Json = {"description": description}
    if headers:
        whole["headers"] = headers
    return whole | ({"content": content} if content else {})


def errors(*statuses: int, shape: str = "BifrostError") -> Json:
    """The errors that an operation may answer with, as references."""
    return {
        str(status): {"$ref": f"#/components/responses/{shape}{status}"}
        for status in sorted(statuses)
    }


def upstream_errors(shape: str = "BifrostError") -> Json:
    """What an upstream's refusal, or a failed call, becomes."""
    return {each: {"$ref": f"#/components/responses/{shape}{each}"} for each in ("4XX", "5XX")}


def shared_answers(*shapes: str) -> Json:
    """The answers that `errors` and `upstream_errors` refer to, by name."""
    shared: Json = {}
    for shape in shapes:
        # The server itself knows no doors: what never reaches one has the gateway's own shape.
        wanted = [shape, "BifrostError"] if shape != "BifrostError" else [shape]
        schemas = [schema(each) for each in wanted]
        found = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        for status, text in _TEXTS.items():
            said = _SAID.get(status)
            example = None
            if said is not None and shape == "BifrostError":
                example = _bifrost_error(status, said)
            shared[f"{shape}{status}"] = json_answer(text, found, _HEADERS.get(status), example)
        for status, text in (
            ("4XX", "What the upstream refused the request with."),
            ("5XX", "What the upstream failed with, or how the call to it did."),
        ):
            shared[f"{shape}{status}"] = json_answer(text, found)
    return shared


def _bifrost_error(status: int, message: str) -> Json:
    return {
        "is_bifrost_error": False,
        "status_code": status,
        "error": {"message": message},
        "extra_fields": {},
    }
