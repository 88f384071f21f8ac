"""A provider and its keys, as the management API shows them: in Bifrost's shape, secrets masked."""

from collections.abc import Mapping
from typing import Any, Final

from hermod.domain.provider import KeySettings, ProviderSettings, Secret
from hermod.governance.provider_documents import keys_of, mask
from hermod.governance.providers import Shown

Json = dict[str, Any]

READ_ONLY: Final = frozenset(
    ["config_hash", "description", "managed_by", "provider_status", "status", "warnings"]
)
"""What clients send back as they got it, and what changes nothing."""


def provider_json(shown: Shown) -> Json:
    """All of it."""
    told = _of_settings(shown.settings) if shown.is_from_file and shown.settings else shown.members
    found: Json = {
        "name": shown.name,
        "network_config": {},
        "concurrency_and_buffer_size": {},
        "proxy_config": None,
        "send_back_raw_request": False,
        "send_back_raw_response": False,
        "store_raw_request_response": False,
        **told,
        "keys": keys_json(shown),
        "provider_status": "error" if shown.settings is None else "active",
    }
    if shown.is_from_file:
        found["managed_by"] = "file"
    if shown.warnings:
        found["warnings"] = list(shown.warnings)
    return found


def keys_json(shown: Shown) -> list[Json]:
    """Its keys alone."""
    if shown.is_from_file and shown.settings is not None:
        return [_of_key(key) for key in shown.settings.keys]
    return [_with_defaults(key) for key in keys_of(shown.members)]


def brief_key_json(provider: str, key: Json) -> Json:
    """A key in the list of all keys, by which virtual keys name them."""
    kept = {name: key[name] for name in ("id", "name", "models", "weight", "enabled")}
    return {"key_id": key["id"], "provider": provider, **kept}


def _with_defaults(key: Mapping[str, object]) -> Json:
    value = key.get("value")
    return {
        "name": key.get("id"),
        "models": [],
        "weight": 1.0,
        "enabled": True,
        **key,
        "value": _value(value if isinstance(value, str) else ""),
    }


def _value(masked: str) -> Json:
    """Bifrost's form of a text that may come from the environment."""
    return {"value": masked, "env_var": "", "from_env": False}


def _masked(secret: Secret) -> str:
    return mask(secret.reveal()) if secret else ""


def _of_settings(settings: ProviderSettings) -> Json:
    network: Json = {
        "base_url": settings.base_url,
        "extra_headers": {name: _masked(value) for name, value in settings.extra_headers},
        "default_request_timeout_in_seconds": settings.attempt_timeout_s,
        "max_retries": settings.max_retries,
        "retry_backoff_initial": settings.retry_backoff_initial_ms,
        "retry_backoff_max": settings.retry_backoff_max_ms,
        "insecure_skip_verify": settings.insecure_skip_verify,
        "ca_cert_pem": settings.ca_cert_pem,
        "allow_private_network": not settings.public_only,
    }
    found: Json = {
        "network_config": _present(network),
        "concurrency_and_buffer_size": {"concurrency": settings.concurrency},
        "send_back_raw_request": settings.send_back_raw_request,
        "send_back_raw_response": settings.send_back_raw_response,
    }
    custom = settings.custom
    if custom is not None:
        allowed = custom.allowed_requests
        about: Json = {
            "base_provider_type": custom.base_provider_type,
            "is_key_less": custom.keyless,
            "allowed_requests": None if allowed is None else dict.fromkeys(sorted(allowed), True),
            "request_path_overrides": dict(custom.path_overrides) or None,
        }
        found["custom_provider_config"] = _present(about)
    return found


def _of_key(key: KeySettings) -> Json:
    found: Json = {
        "id": key.id,
        "name": key.name,
        "value": _value(_masked(key.value)),
        "models": sorted(key.models) or ["*"],
        "blacklisted_models": sorted(key.blacklisted_models),
        "weight": key.weight,
        "enabled": key.enabled,
        "concurrency": key.concurrency,
        "base_url": key.base_url,
        "aliases": dict(key.aliases) or None,
    }
    if key.azure is not None:
        found["azure_key_config"] = _present(
            {
                "endpoint": key.azure.endpoint,
                "api_version": key.azure.api_version,
                "client_id": key.azure.client_id,
                "client_secret": _masked(key.azure.client_secret) or None,
                "tenant_id": key.azure.tenant_id,
            }
        )
    if key.bedrock is not None:
        found["bedrock_key_config"] = _present(
            {
                "access_key": _masked(key.bedrock.access_key) or None,
                "secret_key": _masked(key.bedrock.secret_key) or None,
                "session_token": _masked(key.bedrock.session_token) or None,
                "region": key.bedrock.region,
                "arn": key.bedrock.arn,
                "role_arn": key.bedrock.role_arn,
            }
        )
    if key.vertex is not None:
        found["vertex_key_config"] = _present(
            {
                "project_id": key.vertex.project_id,
                "project_number": key.vertex.project_number,
                "region": key.vertex.region,
                "auth_credentials": _masked(key.vertex.auth_credentials) or None,
            }
        )
    return _present(found)


def _present(members: Json) -> Json:
    return {name: value for name, value in members.items() if value is not None}
