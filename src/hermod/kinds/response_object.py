"""What OpenAI's Response object must hold beside its output (API reference, "The Response object").

For all who make one up: the responses that are jobs, and those that come from a chat model.
"""

from collections.abc import Mapping
from typing import Final

_ERROR_CODES: Final = frozenset(
    {
        "server_error",
        "rate_limit_exceeded",
        "invalid_prompt",
        "data_residency_mismatch",
        "bio_policy",
        "vector_store_timeout",
        "invalid_image",
        "invalid_image_format",
        "invalid_base64_image",
        "invalid_image_url",
        "image_too_large",
        "image_too_small",
        "image_parse_error",
        "image_content_policy_violation",
        "invalid_image_mode",
        "image_file_too_large",
        "unsupported_image_media_type",
        "empty_image_file",
        "failed_to_download_image",
        "image_file_not_found",
    }
)
"""All that OpenAI allows in the error of a response."""
_CODE_BY_STATUS: Final = {400: "invalid_prompt", 422: "invalid_prompt", 429: "rate_limit_exceeded"}

ECHOED: Final = (
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt_cache_key",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
)
"""What a response repeats of its request."""
UNSAID: Final[Mapping[str, object]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "reasoning": {},
    "service_tier": "auto",
    "store": True,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
    "tool_choice": "auto",
    "tools": (),
    "top_p": 1.0,
    "truncation": "disabled",
}
"""What it says where the request says nothing."""


def error_code(code: str | None, status: int | None) -> str:
    """The code that OpenAI's list has for an upstream's code or its HTTP status."""
    if code in _ERROR_CODES:
        return code
    return _CODE_BY_STATUS.get(status or 0, "server_error")
