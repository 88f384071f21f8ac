"""What hostile and clumsy callers of the synchronous routes get, and what they cost."""

from pathlib import Path

import pytest

from tests.support.inprocess import gateway

DEEP = b'{"background":true,"model":"mock/hello","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
DEEP_OBJECTS = b'{"model":"mock/hello","messages":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
NO_UTF8 = b'{"background":true,"model":"mock/\xff\xfe"}'

ROUTES = [
    "/v1/chat/completions",
    "/v1/responses",
    "/openai/v1/responses",
    "/anthropic/v1/messages",
    "/genai/v1beta/models/mock/hello:generateContent",
    "/genai/v1beta/models/mock/hello:embedContent",
]


@pytest.mark.parametrize("body", [DEEP, DEEP_OBJECTS, NO_UTF8], ids=["lists", "objects", "utf-8"])
@pytest.mark.parametrize("route", ROUTES)
async def test_a_body_that_cannot_be_read_is_the_callers_mistake(
    tmp_path: Path, route: str, body: bytes
) -> None:
    async with gateway(tmp_path) as running:
        answer = await running.http.post(route, content=body)
        assert answer.status_code == 400, answer.text
        assert "invalid request format" in answer.json()["error"]["message"]
