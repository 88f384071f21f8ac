"""A file with every documented key of Bifrost's (wire-contract 9) and every one of ours."""

import copy
import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest

from hermod.config import HermodSettings
from hermod.domain.errors import ConfigError
from tests.support.config import problems, read

FULL: dict[str, object] = {
    "$schema": "https://www.getbifrost.ai/schema",
    "version": 1,
    "encryption_key": "env.THE_KEY",
    "client": {
        "async_job_result_ttl": 120,
        "drop_excess_requests": True,
        "initial_pool_size": 300,
        "prometheus_labels": ["team"],
        "logging_headers": ["x-a"],
        "required_headers": ["x-b"],
        "whitelisted_routes": ["/x"],
        "allowed_headers": ["x-c"],
        "allowed_origins": ["https://app.example"],
        "enable_logging": True,
        "disable_content_logging": False,
        "log_retention_days": 30,
        "enforce_auth_on_inference": False,
        "enforce_governance_header": False,
        "enforce_scim_auth": False,
        "allow_direct_keys": False,
        "max_request_body_size_mb": 20,
        "header_filter_config": {"allowlist": [], "denylist": ["x-d"]},
        "webhook_config": {"delivery_history_retention_days": 30},
        "compat": {
            "convert_text_to_chat": True,
            "convert_chat_to_responses": True,
            "should_drop_params": True,
            "should_convert_params": True,
            "azure_deepseek": True,
            "force_reasoning_only_models_to_responses": True,
        },
    },
    "providers": {
        "openai": {
            "keys": [
                {
                    "id": "k-1",
                    "name": "main",
                    "value": "env.MAIN_KEY",
                    "models": ["gpt-4o"],
                    "blacklisted_models": ["gpt-3"],
                    "weight": 0.5,
                    "enabled": True,
                    "use_for_batch_api": False,
                    "azure_key_config": {},
                    "bedrock_key_config": {},
                    "vertex_key_config": {},
                    "vllm_key_config": None,
                    "replicate_key_config": {},
                }
            ],
            "network_config": {
                "base_url": "https://proxy.example/openai",
                "extra_headers": {"x-team": "blue"},
                "default_request_timeout_in_seconds": 45,
                "max_retries": 0,
                "retry_backoff_initial": 250,
                "retry_backoff_max": 4000,
                "insecure_skip_verify": False,
                "ca_cert_pem": "",
                "max_conns_per_host": 100,
                "allow_private_network": False,
            },
            "concurrency_and_buffer_size": {"concurrency": 7, "buffer_size": 50},
            "proxy_config": {"type": "none", "url": "", "username": "", "password": ""},
            "send_back_raw_request": True,
            "send_back_raw_response": True,
            "store_raw_request_response": False,
        },
        "lab": {
            "keys": [],
            "network_config": {"base_url": "http://10.0.0.5:9000/v1"},
            "custom_provider_config": {
                "base_provider_type": "openai",
                "is_key_less": True,
                "allowed_requests": {"chat_completion": True, "chat_completion_stream": True},
                "request_path_overrides": {"chat_completion": "/chat"},
            },
        },
        "runway": {"keys": [{"name": "video", "value": "env.NOT_SET"}]},
        "azure": {
            "keys": [
                {
                    "name": "west",
                    "value": "",
                    "aliases": {"gpt-4o": "our-gpt-4o"},
                    "concurrency": 20,
                    "azure_key_config": {
                        "endpoint": "https://west.openai.azure.com",
                        "deployments": {"gpt-4o-mini": "our-mini"},
                        "api_version": "2024-10-21",
                        "client_id": "an-application",
                        "client_secret": "env.MAIN_KEY",
                        "tenant_id": "a-tenant",
                        "scopes": ["https://cognitiveservices.azure.com/.default"],
                    },
                }
            ]
        },
        "bedrock": {
            "keys": [
                {
                    "name": "account",
                    "value": "",
                    "bedrock_key_config": {
                        "access_key": "AKIAEXAMPLE",
                        "secret_key": "env.MAIN_KEY",
                        "session_token": "",
                        "region": "eu-west-1",
                        "arn": "arn:aws:bedrock:eu-west-1:1:inference-profile",
                        "role_arn": "arn:aws:iam::1:role/caller",
                        "external_id": "x",
                        "role_session_name": "hermod",
                        "deployments": {"claude": "eu.anthropic.claude-x"},
                    },
                }
            ]
        },
        "vertex": {
            "keys": [
                {
                    "name": "project",
                    "value": "",
                    "vertex_key_config": {
                        "project_id": "p-1",
                        "project_number": "1",
                        "region": "europe-west4",
                        "auth_credentials": "{}",
                        "deployments": {"gemini": "gemini-x"},
                    },
                }
            ]
        },
    },
    "config_store": {"enabled": True, "type": "sqlite", "config": {"path": "config.db"}},
    "logs_store": {"enabled": True, "type": "postgres", "config": {"host": "db"}},
    "governance": {
        "virtual_keys": [
            {
                "id": "vk-1",
                "name": "a",
                "description": "d",
                "value": "env.THE_VALUE",
                "is_active": True,
                "expires_at": "2030-01-31T00:00:00Z",
                "team_id": "t-1",
                "budget": {"max_limit": 10, "reset_duration": "1M", "calendar_aligned": True},
                "rate_limit_id": "r-1",
                "max_parallel_jobs": 3,
                "max_pending_jobs": 30,
                "on_limit": "reject",
                "mcp_configs": [],
                "provider_configs": [
                    {
                        "provider": "openai",
                        "weight": 0.5,
                        "allowed_models": ["*"],
                        "blacklisted_models": ["o1"],
                        "key_ids": ["k-1"],
                        "budget_id": "b-1",
                        "rate_limit": {"token_max_limit": 9, "token_reset_duration": "1h"},
                    }
                ],
            }
        ],
        "teams": [{"id": "t-1", "name": "t", "customer_id": "c-1"}],
        "customers": [{"id": "c-1", "name": "c"}],
        "budgets": [{"id": "b-1", "max_limit": 1.5, "reset_duration": "1d"}],
        "rate_limits": [
            {"id": "r-1", "request_max_limit": 5, "request_reset_duration": "1m"},
        ],
        "model_configs": [{"id": "m-1", "model_name": "gpt-4o", "provider": "openai"}],
        "providers": [{"name": "openai"}],
        "routing_rules": [],
        "auth_config": {
            "admin_username": "root",
            "admin_password": "env.THE_KEY",
            "is_enabled": True,
            "disable_auth_on_inference": True,
        },
    },
    "webhooks": [{"name": "w", "url": "https://example.com", "events": ["async.completed"]}],
    "plugins": [{"name": "telemetry", "enabled": True}],
    "mcp": {"client_configs": []},
    "vector_store": {"enabled": False},
    "framework": {"pricing": {"pricing_sync_interval": 86400}},
    "hermod": {
        "host": "localhost",
        "port": 9999,
        "base_path": "/gw",
        "database": "sqlite:////var/jobs.db",
        "role": "api",
        "processes": 3,
        "log_level": "warning",
        "lease_s": 6,
        "renew_s": 2,
        "upkeep_s": 0.5,
        "worker_slots": 64,
        "attempt_timeout_s": 100,
        "idle_timeout_s": 20,
        "connect_timeout_s": 3,
        "max_reply_mb": 5,
        "job_deadline_s": 1000,
        "queue_wait_s": 2000,
        "drain_s": 9.5,
        "database_wait_s": 12,
        "max_retries": 1,
        "retry_backoff_initial_ms": 10,
        "retry_backoff_max_ms": 20,
        "forward_unknown_fields": False,
        "body_budget_mb": 128,
        "synchronous": "NORMAL",
        "mock": False,
        "strict_prices": True,
        "prices": {
            "openai/gpt-4o": {
                "input_usd_per_mtok": 2.5,
                "output_usd_per_mtok": 10,
                "cache_read_usd_per_mtok": 1.25,
                "cache_write_usd_per_mtok": 2.5,
                "request_usd": 0.001,
            }
        },
        "on_limit": "reject",
        "empty_lists": "none",
        "assumed_output_tokens": 1000,
        "auth": {
            "issuer": "gateway",
            "audience": "gateway",
            "token_life": "30d",
            "jwt": {
                "issuers": [
                    {
                        "issuer": "https://idp.example/",
                        "audience": ["a", "b"],
                        "algorithms": ["RS256"],
                        "jwks_url": "https://idp.example/keys",
                        "allow_insecure": False,
                        "leeway_seconds": 30,
                        "max_lifetime": "12h",
                        "claims": {
                            "virtual_key": ["vk"],
                            "tenant": "org",
                            "role": "role",
                            "scope": "scp",
                        },
                        "admin": {"role": ["admin"], "scope": ["gateway:admin"]},
                        "unmapped": "auto_register",
                        "template": "vk-1",
                    }
                ]
            },
        },
    },
}
FULL_ENVIRON = {
    "MAIN_KEY": "sk-main",
    "THE_KEY": "at rest, and long",
    "THE_VALUE": "sk-bf-11111111-2222-3333-4444-555555555555",
}


def test_a_file_with_every_documented_key_loads_without_a_warning(tmp_path: Path) -> None:
    assert read(tmp_path, FULL, FULL_ENVIRON).warnings == ()


def test_every_setting_of_ours_is_read_from_the_file(tmp_path: Path) -> None:
    settings = read(tmp_path, FULL, FULL_ENVIRON).settings
    ours = FULL["hermod"]
    assert isinstance(ours, dict)
    names = [field.name for field in dataclasses.fields(HermodSettings)]
    assert {name: getattr(settings.hermod, name) for name in names} == {
        name: ours[name] for name in names
    }


def test_what_this_release_does_not_act_on_is_listed_with_a_reason(tmp_path: Path) -> None:
    ignored = read(tmp_path, FULL, FULL_ENVIRON).ignored
    assert all(reason for _, reason in ignored)
    assert {place for place, _ in ignored} == {
        "client.drop_excess_requests",
        "client.initial_pool_size",
        "client.whitelisted_routes",
        "client.allowed_headers",
        "client.log_retention_days",
        "client.webhook_config",
        "client.compat.should_convert_params",
        "client.compat.azure_deepseek",
        "client.compat.force_reasoning_only_models_to_responses",
        "providers.openai.network_config.max_conns_per_host",
        "providers.openai.concurrency_and_buffer_size.buffer_size",
        "providers.runway",
        "config_store",
        "logs_store",
        "webhooks",
        "plugins",
        "mcp",
        "vector_store",
        "framework",
    }


def leaves(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every scalar of a JSON value."""
    steps: list[tuple[str | int, object]] = []
    if isinstance(value, dict):
        steps = list(cast("dict[str | int, object]", value).items())
    elif isinstance(value, list):
        steps = list(enumerate(cast("list[object]", value)))
    else:
        return [path]
    return [leaf for step, inner in steps for leaf in leaves(inner, (*path, step))]


def with_value(config: object, path: tuple[str | int, ...], value: object) -> object:
    """A copy with one value replaced."""
    changed = copy.deepcopy(config)
    inner = cast("dict[str | int, Any]", changed)
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = value
    return changed


WRONG: list[object] = [{"x": [1]}, [[]], True, -1, 1.5, "\ud800\n", 10**400]


@pytest.mark.parametrize("turn", range(len(WRONG)))
def test_values_of_wrong_types_everywhere_are_problems_and_nothing_worse(
    tmp_path: Path, turn: int
) -> None:
    config: object = FULL
    for number, path in enumerate(leaves(FULL)):
        config = with_value(config, path, WRONG[(number + turn) % len(WRONG)])
    for problem in problems(tmp_path, config, FULL_ENVIRON):
        assert problem.startswith("config.json:1:")


def test_one_value_of_a_wrong_type_is_a_problem_or_taken(tmp_path: Path) -> None:
    for number, path in enumerate(leaves(FULL)):
        try:
            read(tmp_path, with_value(FULL, path, WRONG[number % len(WRONG)]), FULL_ENVIRON)
        except ConfigError as error:
            places = [problem.removeprefix(f"{tmp_path}/") for problem in error.problems]
            assert all(place.startswith("config.json:1:") for place in places)
