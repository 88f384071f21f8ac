"""A file of Bifrost's with every key of its schema, given to the program."""

import signal
from pathlib import Path

import httpx

from tests.support.program import Gateway
from tests.unit.test_config_import import CONFIG, ENVIRON


def test_it_starts_reports_what_is_ignored_and_keeps_its_rules(tmp_path: Path) -> None:
    with Gateway(tmp_path, config=CONFIG, environ=ENVIRON) as gateway:
        gateway.wait_ready()
        body = {"model": "mock/x", "messages": [{"role": "user", "content": "hi"}]}
        with httpx.Client(base_url=f"http://127.0.0.1:{gateway.port}") as http:
            path = "/v1/async/chat/completions"
            assert http.post(path, json=body).status_code == 401
            key = {"x-bf-vk": ENVIRON["VK_WEB"], "x-squad": "blue"}
            assert http.post(path, json=body, headers=key).status_code == 202
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
        assert "governance.routing_rules is ignored: " in gateway.output
        assert "mcp is ignored: there is no MCP gateway" in gateway.output
        assert "unknown key" not in gateway.output
        assert not [
            secret for secret in ENVIRON.values() if len(secret) > 2 and secret in gateway.output
        ]
