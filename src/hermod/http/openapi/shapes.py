"""The schemas that are the same for every request type."""

from typing import Any, Final

from hermod.http.openapi.answers import schema

Json = dict[str, Any]

_INSTANT: Final[Json] = {"type": "string", "format": "date-time"}
_TEXT: Final[Json] = {"type": "string"}

SHAPES: Final[Json] = {
    "AsyncJob": {
        "type": "object",
        "required": ["id", "status", "created_at"],
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "status": {"enum": ["pending", "processing", "completed", "failed"]},
            "created_at": _INSTANT,
            "completed_at": _INSTANT,
            "expires_at": _INSTANT
            | {
                "description": "When the result is gone. Before the job has ended, the earliest "
                "that can be, shown if the client named a time to keep it."
            },
            "request_id": _TEXT | {"description": "The `x-request-id` of the submit."},
            "status_code": {
                "type": "integer",
                "description": "200, or what the synchronous call would have answered.",
            },
            "result": {"type": "object"},
            "error": schema("BifrostError"),
        },
        "description": "Members without a value are left out.",
    },
    "UnfinishedJob": {
        "allOf": [
            schema("AsyncJob"),
            {"type": "object", "properties": {"status": {"enum": ["pending", "processing"]}}},
        ]
    },
    "FinishedJob": {
        "allOf": [
            schema("AsyncJob"),
            {
                "type": "object",
                "required": ["completed_at", "expires_at", "status_code"],
                "properties": {"status": {"enum": ["completed", "failed"]}},
                "oneOf": [{"required": ["result"]}, {"required": ["error"]}],
            },
        ]
    },
    "BifrostError": {
        "type": "object",
        "required": ["is_bifrost_error", "error", "extra_fields"],
        "properties": {
            "event_id": _TEXT,
            "type": _TEXT | {"description": "A decision of the gateway, as a word."},
            "is_bifrost_error": {
                "type": "boolean",
                "description": "True for timeouts and cancellations within the gateway.",
            },
            "status_code": {"type": "integer"},
            "error": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "type": _TEXT,
                    "code": _TEXT,
                    "message": _TEXT,
                    "param": True,
                    "event_id": _TEXT,
                    "error": _TEXT | {"description": "The cause, if there is one."},
                },
            },
            "extra_fields": {
                "type": "object",
                "properties": {
                    "provider": _TEXT,
                    "model_requested": _TEXT,
                    "request_type": _TEXT,
                },
            },
        },
    },
    "ExtraFields": {
        "type": "object",
        "required": ["request_type", "latency", "chunk_index"],
        "properties": {
            "request_type": _TEXT,
            "latency": {"type": "integer", "description": "Milliseconds."},
            "chunk_index": {"type": "integer"},
            "provider": _TEXT,
            "model_requested": _TEXT,
            "original_model_requested": _TEXT,
            "resolved_model_used": _TEXT,
        },
    },
    "ListedModel": {
        "type": "object",
        "required": ["id", "object", "created", "owned_by"],
        "properties": {
            "id": _TEXT | {"description": "As `model` takes it."},
            "object": {"const": "model"},
            "created": {"type": "integer"},
            "owned_by": _TEXT | {"description": "The provider."},
        },
    },
    "ModelList": {
        "type": "object",
        "required": ["object", "data"],
        "properties": {
            "object": {"const": "list"},
            "data": {"type": "array", "items": schema("ListedModel")},
        },
    },
    "BackgroundResponse": {
        "type": "object",
        "required": ["id", "object", "status"],
        "properties": {
            "id": _TEXT,
            "object": {"const": "response"},
            "status": _TEXT,
            "output": {"type": "array", "items": {"type": "object"}},
        },
    },
    "UnfinishedChatCompletion": {
        "type": "object",
        "required": ["id", "object", "choices"],
        "properties": {
            "id": _TEXT | {"description": "Of the job."},
            "object": {"const": "chat.completion"},
            "choices": {"type": "array", "maxItems": 0},
        },
    },
    "Message": {
        "type": "object",
        "required": ["id", "type", "role", "content"],
        "properties": {
            "id": _TEXT,
            "type": {"const": "message"},
            "role": {"const": "assistant"},
            "model": _TEXT,
            "content": {"type": "array", "items": {"type": "object"}},
            "stop_reason": {"type": ["string", "null"]},
            "usage": {"type": "object"},
        },
    },
    "AnthropicError": {
        "type": "object",
        "required": ["type", "error"],
        "properties": {
            "type": {"const": "error"},
            "error": {
                "type": "object",
                "required": ["type", "message"],
                "properties": {"type": _TEXT, "message": _TEXT},
            },
        },
    },
    "GoogleError": {
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "status"],
                "properties": {"code": {"type": "integer"}, "message": _TEXT, "status": _TEXT},
            }
        },
    },
    "GoogleContent": {
        "type": "object",
        "properties": {
            "role": {"enum": ["user", "model", "function", "", None]},
            "parts": {"type": ["array", "null"], "items": {"type": "object"}},
        },
    },
    "GoogleText": {
        "anyOf": [
            _TEXT,
            {
                "type": "object",
                "required": ["parts"],
                "properties": {
                    "parts": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["text"],
                            "properties": {"text": _TEXT},
                        },
                    }
                },
            },
        ]
    },
    "GoogleModel": {
        "type": "object",
        "required": ["name"],
        "properties": {"name": _TEXT | {"description": "`models/` and what `model` takes."}},
    },
    "GoogleModelList": {
        "type": "object",
        "required": ["models"],
        "properties": {"models": {"type": "array", "items": schema("GoogleModel")}},
    },
    "Health": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"enum": ["ok", "degraded", "unavailable", "starting", "draining"]},
            "components": {
                "type": "object",
                "additionalProperties": _TEXT,
                "description": "What is well, and what is not, in words.",
            },
        },
    },
}
