"""Routes for operators and readers. Only the metrics need a credential, and not on loopback."""

from typing import Any, Final

from hermod.http.openapi.answers import ANYWHERE, answer, errors, json_answer, schema

Json = dict[str, Any]

_UNWELL: Final[Json] = {
    "503": json_answer("It is not.", {"anyOf": [schema("Health"), schema("BifrostError")]})
}
_PROBES: Final = (
    ("health", "/health", "Whether the gateway and its database work"),
    ("liveness", "/health/liveness", "Whether the process lives"),
    ("liveliness", "/health/liveliness", "The same, as LiteLLM spells it"),
    ("readiness", "/health/readiness", "Whether it wants work"),
)
_FILES: Final = ("init.js", "swagger-ui-bundle.js", "swagger-ui.css", "favicon-32x32.png")
_TAG: Final[Json] = {"ETag": {"required": True, "schema": {"type": "string"}}}


def system_paths() -> Json:
    """Health, metrics, and the description itself."""
    paths: Json = {
        path: _get(name, summary, json_answer("It is so.", schema("Health")), **_UNWELL)
        for name, path, summary in _PROBES
    }
    text = {"schema": {"type": "string"}}
    paths["/metrics"] = _get(
        "metrics",
        "Counters, in the text format of Prometheus",
        answer("The counters.", {"text/plain": text}),
        **errors(401, 403),
    )
    del paths["/metrics"]["get"]["security"]
    paths["/openapi.json"] = _get(
        "description", "This document", json_answer("It.", {"type": "object"})
    )
    paths["/docs"] = _get(
        "docs", "This document as a page", answer("The page.", {"text/html": text})
    )
    types = ("text/javascript", "text/css", "image/png")
    file = _get(
        "docs_file",
        "What the page loads",
        answer("The file.", {each: {} for each in types}, _TAG),
        **{"304": answer("The browser has it.", {}, _TAG)},
        **errors(404),
    )
    file["get"]["parameters"] = [
        {
            "name": "file",
            "in": "path",
            "required": True,
            "schema": {"enum": list(_FILES)},
        }
    ]
    paths["/docs/{file}"] = file
    return paths


def _get(name: str, summary: str, well: Json, **others: Json) -> Json:
    operation: Json = {
        "operationId": name,
        "tags": ["Operation"],
        "summary": summary,
        "security": [],
        "responses": {"200": well, **errors(*ANYWHERE), **others},
    }
    return {"get": operation}
