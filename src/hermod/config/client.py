"""The `client` section, which is Bifrost's (wire-contract 9)."""

from typing import Final

from hermod.config.section import Section
from hermod.config.settings import ClientSettings, CompatSettings
from hermod.domain.forwarding import NEVER_FORWARDED, HeaderFilter, Names
from hermod.domain.headers import CREDENTIAL_HEADERS, HEADER_NAME

ENFORCING: Final = ("enforce_auth_on_inference", "enforce_governance_header", "enforce_scim_auth")
"""One switch under its three names, the newest first (wire-contract 9)."""

# A hundred years: beyond it, instants in microseconds would leave their 64 bits.
_LONGEST_TTL_S: Final = 100 * 366 * 86_400
_LATER: Final = "comes in a later release"
_MCP: Final[tuple[tuple[str, type], ...]] = (
    ("agent_depth", int),
    ("tool_execution_timeout", int),
    ("code_mode_binding_level", str),
    ("tool_sync_interval", int),
    ("disable_auto_tool_inject", bool),
    ("enable_temp_token_auth", bool),
    ("external_client_url", object),
    ("server_auth_mode", str),
)

_CLIENT_LATER: Final[tuple[tuple[str, type, str, object], ...]] = (
    ("drop_excess_requests", bool, "a job waits in the store, it is never dropped", False),
    ("initial_pool_size", int, "Bifrost's memory pool only", None),
    ("whitelisted_routes", list, "which routes need no credential is fixed", []),
    ("allowed_headers", list, "a page that may ask may send any header", []),
    ("enable_logging", bool, "a job is its own log", True),
    ("disable_content_logging", bool, "a body is kept until its job has expired", False),
    ("log_retention_days", int, _LATER, None),
    ("webhook_config", dict, "webhooks come in a later release", {}),
    ("enable_litellm_fallbacks", bool, _LATER, False),
    ("allow_per_request_content_storage_override", bool, _LATER, False),
    ("allow_per_request_raw_override", bool, _LATER, False),
    ("disable_db_pings_in_health", bool, _LATER, False),
    ("dump_errors_in_console_logs", bool, _LATER, False),
    ("hide_deleted_virtual_keys_in_filters", bool, _LATER, False),
    ("dual_credential_conflict_behavior", str, "credentials of two callers are refused", "error"),
    ("routing_chain_max_depth", int, "there are no routing rules", None),
    *((f"mcp_{name}", kind, "there is no MCP gateway", None) for name, kind in _MCP),
    ("oauth2_server_config", dict, "there is no MCP gateway", {}),
)
_COMPAT_LATER: Final = (
    ("should_convert_params", "each dialect converts what its upstream calls otherwise"),
    ("azure_deepseek", _LATER),
    ("force_reasoning_only_models_to_responses", _LATER),
)


def read_client(section: Section, *, enforced: bool) -> ClientSettings:
    """Everything under `client` that we act on; the rest is noted.

    `enforced`: whether calls need a credential, as its switches say (`auth.is_enforced`).
    """
    usual = ClientSettings()
    client = ClientSettings(
        async_job_result_ttl=section.integer(
            "async_job_result_ttl", usual.async_job_result_ttl, 1, _LONGEST_TTL_S
        ),
        max_request_body_size_mb=section.integer(
            "max_request_body_size_mb", usual.max_request_body_size_mb, 1, 2048
        ),
        allowed_origins=section.texts("allowed_origins"),
        header_filter=_header_filter(section.section("header_filter_config")),
        logging_headers=_names(section, "logging_headers", CREDENTIAL_HEADERS, "is never logged"),
        required_headers=_names(section, "required_headers"),
        prometheus_labels=_names(section, "prometheus_labels"),
        compat=_compat(section.section("compat")),
        allow_direct_keys=section.flag("allow_direct_keys"),
        written=frozenset(section.members),
        enforce_auth_on_inference=enforced,
    )
    for key, kind, reason, neutral in _CLIENT_LATER:
        section.later(key, kind, reason, neutral)
    section.finish()
    return client


def _compat(section: Section) -> CompatSettings:
    compat = CompatSettings(
        section.flag("convert_text_to_chat"),
        section.flag("convert_chat_to_responses"),
        section.flag("should_drop_params"),
    )
    for key, reason in _COMPAT_LATER:
        section.later(key, bool, reason, neutral=False)
    section.finish()
    return compat


def _header_filter(section: Section) -> HeaderFilter:
    allowed = _names(section, "allowlist", NEVER_FORWARDED, "is never forwarded", beginnings=True)
    denied = _names(section, "denylist", beginnings=True)
    section.finish()
    return HeaderFilter(Names.of(allowed), Names.of(denied))


def _names(
    section: Section,
    key: str,
    never: frozenset[str] = frozenset(),
    why: str = "",
    *,
    beginnings: bool = False,
) -> tuple[str, ...]:
    """A list of header names; those in `never` cannot do what the list is for, and are warned of.

    They stay in it: a list of nothing else must not turn into one that is absent.

    `beginnings` permits a `*` for the end of a name.
    """
    found: list[str] = []
    for index, text in section.texts_by_index(key):
        name = text.strip()
        exact = name.removesuffix("*") if beginnings else name
        if not HEADER_NAME.fullmatch(name):
            section.problem("is not a header name", key, index)
        elif "*" in exact:
            where = "stand only at the end of a name" if beginnings else "not stand in a name here"
            section.problem(f"a * may {where}", key, index)
        elif name.lower() in never:
            section.warn(why, key, index)
        found.append(name)
    return tuple(found)
