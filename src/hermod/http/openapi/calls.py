"""`/v1/…`: the synchronous routes, the models, and OpenAI's background responses."""

from typing import Any

from hermod.http.openapi.answers import (
    NO_RETRY,
    NO_STORE,
    WITH_BODY,
    WITH_CREDENTIAL,
    errors,
    json_answer,
    schema,
    upstream_errors,
)
from hermod.http.openapi.bodies import call_answer, native_body
from hermod.http.openapi.naming import spoken
from hermod.http.openapi.parameters import CALL, parameters
from hermod.kinds.kind import AnyKind

Json = dict[str, Any]


def call_paths(kind: AnyKind) -> Json:
    """The synchronous twin of a job."""
    in_background = kind.request_type == "responses"
    operation: Json = {
        "operationId": f"create_{kind.request_type}",
        "tags": ["Synchronous calls"],
        "summary": f"Create {spoken(kind)}",
        "parameters": parameters(*CALL),
        "requestBody": native_body(kind, streams=True),
        "responses": {
            "200": call_answer(kind, "BackgroundResponse" if in_background else None),
            **errors(*WITH_BODY, 429),
            **upstream_errors(),
        },
    }
    if in_background:
        operation["description"] = (
            "With `background: true` the answer comes at once and the work goes on: retrieve it "
            "by its `id`, here or as an async job."
        )
    return {f"/v1/{kind.path}": {"post": operation}}


def model_paths(prefix: str = "/v1", door: str = "") -> Json:
    """The models that a request may name."""
    listing = {
        "operationId": f"{door}list_models",
        "tags": ["Models"],
        "summary": "List models",
        "description": "What is known of the configured providers. A provider whose list cannot be "
        "read adds none; models that are not listed may work.",
        "parameters": parameters("Provider"),
        "responses": {
            "200": json_answer("The models.", schema("ModelList")),
            **errors(*WITH_CREDENTIAL),
        },
    }
    one = {
        "operationId": f"{door}get_model",
        "tags": ["Models"],
        "summary": "Get a model",
        "parameters": parameters("Model"),
        "responses": {
            "200": json_answer("The model.", schema("ListedModel")),
            **errors(*WITH_CREDENTIAL, 404),
        },
    }
    return {f"{prefix}/models": {"get": listing}, f"{prefix}/models/{{model}}": {"get": one}}


def background_paths(prefix: str = "/v1", door: str = "") -> Json:
    """Retrieve and cancel a background response."""
    path = f"{prefix}/responses/{{response_id}}"
    common: Json = {"tags": ["Background responses"], "parameters": parameters("ResponseId")}
    found = json_answer(
        "The response as it is now: `queued`, `in_progress`, `completed`, `failed`, `incomplete` "
        "or `cancelled`.",
        schema("BackgroundResponse"),
        NO_STORE | NO_RETRY,
    )
    responses: Json = {"200": found, **errors(*WITH_CREDENTIAL, 404, 507)}
    return {
        path: {
            "get": {
                "operationId": f"{door}retrieve_response",
                "summary": "Retrieve a background response",
                **common,
                "responses": responses,
            }
        },
        f"{path}/cancel": {
            "post": {
                "operationId": f"{door}cancel_response",
                "summary": "Cancel a background response",
                "description": "One that has ended stays as it is, and is returned.",
                **common,
                "responses": responses,
            }
        },
    }
