"""`/openapi.json`: the description of the wire (OpenAPI 3.1), made from the request types.

A file per group of routes composes its operations. A test holds it to the routes that are served,
both ways, and another one keeps docs/reference/openapi.json equal to what is served.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from hermod import __version__
from hermod.http.message import Request, Response
from hermod.http.openapi.administration import administration_paths
from hermod.http.openapi.answers import shared_answers
from hermod.http.openapi.calls import background_paths, call_paths, model_paths
from hermod.http.openapi.doors import anthropic_paths, genai_paths, openai_paths
from hermod.http.openapi.jobs import async_job_paths
from hermod.http.openapi.management import governance_paths
from hermod.http.openapi.management_parts import ADMIN_SCHEMES
from hermod.http.openapi.management_shapes import SHOWN, written
from hermod.http.openapi.naming import request_name, result_name
from hermod.http.openapi.parameters import PARAMETERS
from hermod.http.openapi.schemas import body_schema, result_schema
from hermod.http.openapi.shapes import SHAPES
from hermod.http.openapi.system import system_paths
from hermod.kinds.kind import MODEL_LENGTH_MAX, AnyKind

Json = dict[str, Any]

_ABOUT: Final = """\
Durable jobs in front of AI providers, on the wire of Bifrost.

- Instants are RFC 3339 in UTC. Ids are opaque. Members without a value are left out, not null.
- Unknown fields of a request are never an error; ranges and enumerations are the upstream's \
business.
- An error is a `BifrostError`, except behind a door that has a shape of its own.
- A path that is called with another method answers 405 with `Allow`; `HEAD` is `GET` without the \
body.
- Bodies may be sent with `Content-Encoding: gzip`, `deflate`, `br` or `zstd`.
- `x-bf-eh-NAME: value` sends the header NAME to the upstream; `x-bf-lh-LABEL: value` and \
`x-bf-dim-LABEL: value` are kept with the job.
"""
_SECURITY: Final[Json] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The admin token or a virtual key. On loopback none is needed.",
    },
    **{
        name: {"type": "apiKey", "in": "header", "name": name, "description": "The same."}
        for name in ("x-bf-vk", "x-api-key", "x-goog-api-key", "api-key")
    },
}
_TAGS: Final = (
    ("Async jobs", "Submit now, fetch later. An accepted job is never lost."),
    ("Synchronous calls", "The same requests, answered on the same connection."),
    ("Models", ""),
    ("Background responses", "OpenAI's background mode, for every provider."),
    (
        "OpenAI",
        "For OpenAI's SDKs. A model without a provider is OpenAI's. Also at `/openai`, at "
        "`/openai/openai`, behind `/litellm`, `/langchain` and `/pydanticai`, and at these alone.",
    ),
    (
        "Anthropic",
        "For Anthropic's SDKs. A model without a provider is Anthropic's. Also behind the same.",
    ),
    (
        "Google GenAI",
        "For Google's SDKs. A model without a provider is Gemini's. Also behind the same.",
    ),
    ("Governance", "Who may ask, and what it may cost. For admins, as all of `/api` is."),
    ("Providers", "What calls go to, and with which keys."),
    ("Settings", "What the gateway runs with."),
    ("Sessions", "Logging in with a browser."),
    ("Operation", "For operators and readers; no credential is needed."),
)


class OpenApi:
    """The document, made when it is first asked for."""

    def __init__(
        self, kinds: Iterable[AnyKind], known_providers: Iterable[str], base_path: str
    ) -> None:
        self._about = (tuple(kinds), frozenset(known_providers), base_path)
        self._body = b""

    async def document(self, _: Request) -> Response:
        """`GET /openapi.json`"""
        if not self._body:
            text = json.dumps(describe(*self._about), indent=2, ensure_ascii=False)
            self._body = text.encode() + b"\n"
        return Response(200, self._body)


def describe(kinds: Iterable[AnyKind], known_providers: Iterable[str], base_path: str) -> Json:
    """The OpenAPI 3.1 description of every route of a gateway with these request types."""
    kinds = tuple(kinds)
    paths: Json = {}
    for kind in kinds:
        paths |= async_job_paths(kind)
    for kind in kinds:
        paths |= call_paths(kind)
    paths |= model_paths() | background_paths()
    paths |= openai_paths(kinds) | anthropic_paths() | genai_paths()
    paths |= governance_paths() | administration_paths() | system_paths()
    schemas = SHAPES | SHOWN | written() | _models(known_providers)
    for kind in kinds:
        schemas |= {request_name(kind): body_schema(kind), result_name(kind): result_schema(kind)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Hermod",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": base_path or "/"}],
        "security": [{}, *({name: []} for name in _SECURITY)],
        "tags": [{"name": name} | ({"description": text} if text else {}) for name, text in _TAGS],
        "paths": paths,
        "components": _used(
            paths,
            {
                "schemas": schemas,
                "responses": shared_answers("BifrostError", "AnthropicError", "GoogleError"),
                "parameters": PARAMETERS,
                "securitySchemes": _SECURITY | ADMIN_SCHEMES,
            },
        ),
    }


def _models(known_providers: Iterable[str]) -> Json:
    # A hyphen needs no escape here, and the dialect of JSON Schema's patterns allows it none.
    names = "|".join(re.escape(name).replace(r"\-", "-") for name in sorted(known_providers))
    name = rf"[^\x00]{{1,{MODEL_LENGTH_MAX}}}"
    return {
        "Model": {
            "type": "string",
            "description": "A provider, a slash, and the provider's own name of the model.",
            "pattern": rf"^(?:{names})/{name}$",
        },
        "ModelOfDoor": {
            "type": "string",
            "description": "The same, or a model of the provider whose API this is.",
            "pattern": rf"^(?:(?:{names})/{name}|(?!(?:{names})/){name})$",
        },
    }


def _used(paths: Json, components: Json) -> Json:
    """Those components that the paths lead to."""
    reached: set[str] = set()
    waiting = [json.dumps(paths)]
    while waiting:
        for group, name in re.findall(r'"#/components/(\w+)/(\w+)"', waiting.pop()):
            if f"{group}/{name}" not in reached:
                reached.add(f"{group}/{name}")
                waiting.append(json.dumps(components[group][name]))
    return {
        group: {
            name: each
            for name, each in named.items()
            if group == "securitySchemes" or f"{group}/{name}" in reached
        }
        for group, named in components.items()
    }
