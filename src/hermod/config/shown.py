"""The settings as `/api/config` shows them: in Bifrost's shape, without any secret."""

from hermod.config.settings import Settings
from hermod.domain.forwarding import Names


def shown(settings: Settings) -> dict[str, object]:
    """What the gateway runs with, as JSON. What is left out is secret or stands elsewhere."""
    client, ours = settings.client, settings.hermod
    headers = client.header_filter
    return {
        "client_config": {
            "async_job_result_ttl": client.async_job_result_ttl,
            "max_request_body_size_mb": client.max_request_body_size_mb,
            "allowed_origins": list(client.allowed_origins),
            "header_filter_config": {
                "allowlist": _names(headers.allowed),
                "denylist": _names(headers.denied),
            },
            "logging_headers": list(client.logging_headers),
            "required_headers": list(client.required_headers),
            "prometheus_labels": list(client.prometheus_labels),
            "allow_direct_keys": client.allow_direct_keys,
            "enforce_auth_on_inference": client.enforce_auth_on_inference,
            "compat": {
                "convert_text_to_chat": client.compat.convert_text_to_chat,
                "convert_chat_to_responses": client.compat.convert_chat_to_responses,
                "should_drop_params": client.compat.should_drop_params,
            },
        },
        "hermod": {
            "lease_s": ours.lease_s,
            "worker_slots": ours.worker_slots,
            "attempt_timeout_s": ours.attempt_timeout_s,
            "job_deadline_s": ours.job_deadline_s,
            "queue_wait_s": ours.queue_wait_s,
            "max_retries": ours.max_retries,
            "on_limit": ours.on_limit,
            "empty_lists": ours.empty_lists,
            "strict_prices": ours.strict_prices,
            "mock": ours.mock,
        },
        "role": settings.role,
        "processes": settings.processes,
        "base_path": settings.base_path,
        "database": settings.database,
        "is_db_connected": True,
        "is_logs_connected": True,
        "is_cache_connected": False,
    }


def _names(names: Names) -> list[str]:
    return [*sorted(names.exact), *(f"{start}*" for start in names.beginnings)]
