"""`/openapi.json`: the routes of this release, generated from the kinds."""

import json
from collections.abc import Iterable
from typing import Any

from hermod import __version__
from hermod.http.message import Request, Response
from hermod.kinds.kind import Kind

_ERROR = {"$ref": "#/components/schemas/BifrostError"}
_JOB = {"$ref": "#/components/schemas/AsyncJob"}


def _answer(description: str, schema: dict[str, str]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_REFUSALS = {
    "400": _answer("The request is malformed; the message says where.", _ERROR),
    "401": _answer("A credential is required and missing or wrong.", _ERROR),
    "403": _answer("A browser page from elsewhere called.", _ERROR),
    "503": _answer("Shutting down, or the store is unavailable; try again.", _ERROR),
}

_SCHEMAS: dict[str, Any] = {
    "AsyncJob": {
        "type": "object",
        "required": ["id", "status", "created_at"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "status": {"enum": ["pending", "processing", "completed", "failed"]},
            "created_at": {"type": "string", "format": "date-time"},
            "completed_at": {"type": "string", "format": "date-time"},
            "expires_at": {"type": "string", "format": "date-time"},
            "request_id": {"type": "string"},
            "status_code": {"type": "integer"},
            "result": {"type": "object", "description": "The upstream's answer."},
            "error": _ERROR,
        },
    },
    "BifrostError": {
        "type": "object",
        "required": ["is_bifrost_error", "error", "extra_fields"],
        "properties": {
            "event_id": {"type": "string"},
            "type": {"type": "string"},
            "is_bifrost_error": {"type": "boolean"},
            "status_code": {"type": "integer"},
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "type": {"type": "string"},
                    "code": {"type": "string"},
                    "message": {"type": "string"},
                    "param": {},
                    "event_id": {"type": "string"},
                    "error": {"type": "string"},
                },
            },
            "extra_fields": {
                "type": "object",
                "properties": {
                    "provider": {"type": "string"},
                    "model_requested": {"type": "string"},
                    "request_type": {"type": "string"},
                },
            },
        },
    },
}

_TTL = {
    "name": "x-bf-async-job-result-ttl",
    "in": "header",
    "description": "Seconds the result is kept after completion.",
    "schema": {"type": "integer", "default": 3600},
}
_ON_UNKNOWN = {
    "name": "x-hermod-on-unknown",
    "in": "header",
    "description": "What to do when a worker dies while the upstream call is out.",
    "schema": {"enum": ["retry", "fail"], "default": "retry"},
}
_ID = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}


_PUBLIC = {
    "/health": ("The gateway and its store work.", "The store does not answer."),
    "/health/liveness": ("The process lives.", None),
    "/health/liveliness": ("The same, as LiteLLM spells it.", None),
    "/health/readiness": ("It wants work.", "Starting, draining, or the store does not answer."),
    "/metrics": ("Counters, in the text format of Prometheus.", "The store does not answer."),
    "/openapi.json": ("This document.", None),
}
"""What 200 means on the routes that need no credential, and what 503 does."""


class OpenApi:
    """The document, made once."""

    def __init__(self, kinds: Iterable[Kind], base_path: str) -> None:
        self._body = json.dumps(describe(kinds, base_path)).encode() + b"\n"

    async def document(self, _: Request) -> Response:
        """`GET /openapi.json`"""
        return Response(200, self._body)


def describe(kinds: Iterable[Kind], base_path: str) -> dict[str, Any]:
    """The OpenAPI 3.1 description of every route."""
    paths: dict[str, Any] = {}
    for kind in kinds:
        name = kind.request_type
        path = f"/v1/async/{kind.path}"
        paths[path] = {"post": _submit(name)}
        paths[path + "/{job_id}"] = {"get": _poll(name)}
    paths |= {path: {"get": _public(*texts)} for path, texts in _PUBLIC.items()}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Hermod", "version": __version__},
        "servers": [{"url": base_path or "/"}],
        "paths": paths,
        "components": {"schemas": _SCHEMAS},
    }


def _submit(name: str) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["model"],
        "properties": {"model": {"type": "string", "description": "provider/model"}},
    }
    return {
        "operationId": f"submit_{name}",
        "parameters": [_TTL, _ON_UNKNOWN],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "202": _answer("Committed; poll for the result.", _JOB),
            **_REFUSALS,
            "413": _answer("The body is too large.", _ERROR),
            "507": _answer("The disk is full.", _ERROR),
        },
    }


def _poll(name: str) -> dict[str, Any]:
    return {
        "operationId": f"get_{name}",
        "parameters": [_ID],
        "responses": {
            "200": _answer("The job has completed or failed.", _JOB),
            "202": _answer("The job is pending or processing.", _JOB),
            "404": _answer("No such job of this type, or it has expired.", _ERROR),
            **{code: _REFUSALS[code] for code in ("401", "403", "503")},
        },
    }


def _public(well: str, unwell: str | None) -> dict[str, Any]:
    texts = {"200": well, "503": unwell}
    return {"responses": {code: {"description": text} for code, text in texts.items() if text}}
