"""Broken files: every problem at once, each with its place."""

from pathlib import Path

import pytest

from tests.support.config import problems

BROKEN = {
    "ranges": (
        """{
  "client": {"async_job_result_ttl": 0, "max_request_body_size_mb": -5},
  "hermod": {"worker_slots": 0, "drain_s": -1}
}""",
        [
            "2:14 client.async_job_result_ttl",
            "2:41 client.max_request_body_size_mb",
            "3:14 hermod.worker_slots",
            "3:33 hermod.drain_s",
        ],
    ),
    "types": (
        """{
  "client": {"allowed_origins": "*", "enable_logging": "yes"},
  "hermod": {"lease_s": "30s", "mock": 1, "max_retries": 1.5}
}""",
        [
            "2:14 client.allowed_origins",
            "2:38 client.enable_logging",
            "3:14 hermod.lease_s",
            "3:32 hermod.mock",
            "3:43 hermod.max_retries",
        ],
    ),
    "sections": (
        """{"client": [], "providers": [], "governance": 1,
 "webhooks": {}, "hermod": "x", "plugins": "none"}""",
        ["1:2 client", "1:16 providers", "1:33 governance", "2:2 webhooks", "2:18 hermod",
         "2:33 plugins"],
    ),
    "keys": (
        """{"providers": {"openai": {"keys": [
  {"name": 5, "value": ["sk"]},
  "sk-plain",
  {"name": "b", "value": "sk\\r\\nx: y", "weight": -0.1, "models": "gpt"},
  {"name": "c", "value": "k€y", "models": ["a", 7], "enabled": "no"}
]}}}""",
        [
            "2:4 providers.openai.keys[0].name",
            "2:15 providers.openai.keys[0].value",
            "3:3 providers.openai.keys[1]",
            "4:17 providers.openai.keys[2].value",
            "4:40 providers.openai.keys[2].weight",
            "4:56 providers.openai.keys[2].models",
            "5:17 providers.openai.keys[3].value",
            "5:49 providers.openai.keys[3].models[1]",
            "5:53 providers.openai.keys[3].enabled",
        ],
    ),
    "network": (
        """{"providers": {"groq": {"network_config": {
  "base_url": "https://u:p@groq.example", "max_retries": -1,
  "extra_headers": {"x y": "1", "x-a": "a\\nb", "content-length": "4"},
  "retry_backoff_initial": "soon", "ca_cert_pem": "nonsense"}}}}""",
        [
            "2:3 providers.groq.network_config.base_url",
            "2:43 providers.groq.network_config.max_retries",
            '3:21 providers.groq.network_config.extra_headers["x y"]',
            "3:33 providers.groq.network_config.extra_headers.x-a",
            "3:48 providers.groq.network_config.extra_headers.content-length",
            "4:3 providers.groq.network_config.retry_backoff_initial",
            "4:36 providers.groq.network_config.ca_cert_pem",
        ],
    ),
    "addresses": (
        """{"providers": {
  "openai": {"network_config": {"base_url": "ftp://files.example"}},
  "groq": {"network_config": {"base_url": "https://x.example/?key=1"}},
  "xai": {"network_config": {"base_url": "https://x.example/#top"}},
  "mistral": {"network_config": {"base_url": "api.mistral.ai"}},
  "nebius": {"network_config": {"base_url": "http://x.example:99999"}},
  "together": {"network_config": {"base_url": "https://a b"}},
  "vllm": {"network_config": {"base_url": "env.NO_SUCH_ADDRESS"}}
}}""",
        [
            "2:33 providers.openai.network_config.base_url",
            "3:31 providers.groq.network_config.base_url",
            "4:30 providers.xai.network_config.base_url",
            "5:34 providers.mistral.network_config.base_url",
            "6:33 providers.nebius.network_config.base_url",
            "7:35 providers.together.network_config.base_url",
            "8:31 providers.vllm.network_config.base_url",
        ],
    ),
    "custom": (
        """{"providers": {
  "a": {"custom_provider_config": {"base_provider_type": "opneai"}},
  "b": {"custom_provider_config": {"is_key_less": true}},
  "c": {"custom_provider_config": {"base_provider_type": "openai",
    "allowed_requests": {"chat_completion": "yes"},
    "request_path_overrides": {"embedding": "ftp://x.example/e", "responses": "/a b"}}},
  "openai": {"custom_provider_config": {"base_provider_type": "openai"}}
}}""",
        [
            "2:36 providers.a.custom_provider_config.base_provider_type",
            "3:9 providers.b.custom_provider_config.base_provider_type",
            "5:26 providers.c.custom_provider_config.allowed_requests.chat_completion",
            "6:32 providers.c.custom_provider_config.request_path_overrides.embedding",
            "6:66 providers.c.custom_provider_config.request_path_overrides.responses",
            "7:14 providers.openai.custom_provider_config",
        ],
    ),
    "names": (
        """{"providers": {
  "opnai": {}, "no slash/es": {}, "mock": {},
  "Groq": {}, "groq": {}
}}""",
        [
            "2:3 providers.opnai",
            '2:16 providers["no slash/es"]',
            "2:35 providers.mock",
            "3:15 providers.groq",
        ],
    ),
    "contradictions": (
        """{
  "hermod": {"lease_s": 4, "body_budget_mb": 1, "retry_backoff_max_ms": 1},
  "providers": {"openai": {"network_config": {
    "retry_backoff_initial": 900, "retry_backoff_max": "100ms"}}}
}""",
        [
            "2:14 hermod.lease_s",
            "2:28 hermod.body_budget_mb",
            "2:49 hermod.retry_backoff_max_ms",
            "4:5 providers.openai.network_config.retry_backoff_initial",
        ],
    ),
    "words": (
        """{
  "version": 3,
  "hermod": {"synchronous": "OFF", "role": "app", "processes": "4", "log_level": "loud"},
  "providers": {"xai": {"proxy_config": {"type": "sock5"}}}
}""",
        [
            "2:3 version",
            "3:14 hermod.synchronous",
            "3:36 hermod.role",
            "3:51 hermod.processes",
            "3:69 hermod.log_level",
            "4:42 providers.xai.proxy_config.type",
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_reports_all_its_problems_at_once_with_their_places(
    tmp_path: Path, name: str
) -> None:
    text, places = BROKEN[name]
    found = [problem.split(": ")[0] for problem in problems(tmp_path, text)]
    assert found == [f"config.json:{place}" for place in places]


@pytest.mark.parametrize("name", BROKEN)
def test_a_problem_never_repeats_a_text_of_the_file(tmp_path: Path, name: str) -> None:
    report = " ".join(problems(tmp_path, BROKEN[name][0]))
    assert not any(word in report for word in ("sk-plain", "u:p@", "files.example", "nonsense"))


def test_a_misspelt_word_gets_a_guess(tmp_path: Path) -> None:
    report = " ".join(problems(tmp_path, BROKEN["custom"][0]))
    assert 'did you mean "openai"?' in report
