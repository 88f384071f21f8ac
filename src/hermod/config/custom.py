"""Providers of the operator's own: `custom_provider_config`."""

import re
from collections.abc import Mapping
from typing import Final

from hermod.config.addresses import address_fault
from hermod.config.section import Section, did_you_mean
from hermod.domain.headers import UNSENDABLE
from hermod.domain.provider import CustomSettings, Row
from hermod.kinds.registry import KIND_BY_TYPE

_REQUEST_TYPES: Final = frozenset(KIND_BY_TYPE)
_CUSTOM_BASES: Final = (
    "openai", "anthropic", "bedrock", "cohere", "gemini", "huggingface", "replicate",
)  # fmt: skip
"""Shapes a custom provider usually has (wire-contract 8.2); any other provider's will do."""
_OTHER_REQUESTS: Final = (
    "list_models", "count_tokens", "passthrough", "passthrough_stream", "websocket_responses",
    "realtime", "responses_retrieve", "responses_delete", "responses_cancel",
    "responses_input_items", "video_generation", "video_retrieve", "video_download",
    "video_delete", "video_list", "video_remix", "batch_create", "batch_list", "batch_retrieve",
    "batch_cancel", "batch_delete", "batch_results", "file_upload", "file_list", "file_retrieve",
    "file_delete", "file_content", "container_create", "container_list", "container_retrieve",
    "container_delete", "container_file_create", "container_file_list",
    "container_file_retrieve", "container_file_content", "container_file_delete", "compaction",
    "cached_content_create", "cached_content_list", "cached_content_retrieve",
    "cached_content_update", "cached_content_delete",
)  # fmt: skip
"""Operations of Bifrost's that no asynchronous route has; a switch for one changes nothing."""
_STREAMS: Final = frozenset(f"{name}_stream" for name in _REQUEST_TYPES)
_KNOWN_REQUESTS: Final = (*sorted(_REQUEST_TYPES), *sorted(_STREAMS), *_OTHER_REQUESTS)


def read_custom(
    entry: Section, rows: Mapping[str, Row], known: frozenset[str]
) -> tuple[Row | None, CustomSettings | None]:
    """The row a provider of the operator's own speaks like, and what they said about it.

    No row when the shape is missing, unknown, or one whose adapter is still to come.
    """
    section = entry.section("custom_provider_config")
    if section.take("base_provider_type") is None:
        section.problem(f"missing: one of {', '.join(_CUSTOM_BASES)}", "base_provider_type")
        return None, None
    base = section.text("base_provider_type") or ""
    if base not in known or base == "mock":
        section.problem(
            f"expected {', '.join(_CUSTOM_BASES)} or another provider{did_you_mean(base, known)}",
            "base_provider_type",
        )
    elif base not in rows:
        entry.ignored(f"the {base} adapter comes in a later release")
    if base not in rows:
        return None, None
    custom = CustomSettings(
        base_provider_type=base,
        keyless=section.flag("is_key_less"),
        allowed_requests=_allowed_requests(section),
        path_overrides=_path_overrides(section.section("request_path_overrides")),
    )
    section.finish()
    return rows[base], custom


def _allowed_requests(section: Section) -> frozenset[str] | None:
    """What is named true; everything when the member is absent, nothing when it is `{}`."""
    if section.take("allowed_requests") is None:
        return None
    switches = section.section("allowed_requests")
    allowed = frozenset(name for name in _KNOWN_REQUESTS if switches.flag(name))
    switches.finish()
    if not allowed & _REQUEST_TYPES:
        section.warn("allows no request at all", "allowed_requests")
    return allowed & _REQUEST_TYPES


def _path_overrides(section: Section) -> Mapping[str, str]:
    overrides: dict[str, str] = {}
    for name in _KNOWN_REQUESTS:
        text = section.text(name)
        if text is None or name not in _REQUEST_TYPES | _STREAMS:
            continue
        if "://" in text:
            fault = address_fault(text.replace("{model}", "m"), query=True)
        else:
            text = f"/{text.removeprefix('/')}"
            fault = "is not a path" if UNSENDABLE.search(text) or re.search(r"[\s#]", text) else ""
        if fault:
            section.problem(fault, name)
        else:
            overrides[name] = text
    section.finish()
    return overrides
