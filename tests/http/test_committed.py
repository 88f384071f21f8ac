"""A 202 is a promise: it leaves only once the job is committed."""

from pathlib import Path

import pytest

from tests.support.failpoints import armed
from tests.support.inprocess import gateway
from tests.support.program import chat

PATH = "/v1/async/chat/completions"


@pytest.mark.parametrize("text", ["small", "0123456789abcdef" * 10_000], ids=["small", "large"])
async def test_a_submit_whose_commit_fails_is_not_accepted(tmp_path: Path, text: str) -> None:
    async with gateway(tmp_path) as running:
        with armed("submit_job.before_commit=raise"):
            response = await running.http.post(PATH, json=chat(text))
        assert response.status_code == 503, response.text
        assert "retry-after" in response.headers
        assert await running.service.store.counts() == {}
