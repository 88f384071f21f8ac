"""A backlog lies on the disk: neither memory nor the other lanes notice it.

`HERMOD_TEST_BACKLOG=100000` is the long form, which holds the promised bound.
"""

import json
import os
import re
import signal
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import Gateway, MockUpstream, chat, client, submit, wait_done

BACKLOG = int(os.environ.get("HERMOD_TEST_BACKLOG", "20000"))
GROWTH_MB = 20.0 if BACKLOG >= 100_000 else 35.0
"""Promised is 20 (design.md 6); a short run on a busy machine is given more."""
PATH = "/v1/async/chat/completions"
CONNECTIONS = 64


def config(upstream: MockUpstream, slots: int) -> dict[str, Any]:
    """`openai` with so many calls at once."""
    provider = upstream.provider(concurrency_and_buffer_size={"concurrency": slots})
    return {"providers": {"openai": provider}, "hermod": {"drain_s": 1}}


def flood(port: int, count: int) -> list[str]:
    """The ids of that many jobs, in the order of their acceptance. Raw, for it has to be quick."""
    body = json.dumps(chat("x" * 1500, "openai/any")).encode()
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    request = head.encode() + body
    ids: list[str] = []
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60))
            for _ in range(CONNECTIONS)
        ]
        while len(ids) < count:
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                reply = connection.recv(4096)
                while not reply.endswith(b"}\n"):
                    reply += connection.recv(4096)
                assert reply.startswith(b"HTTP/1.1 202 "), reply
                found = re.search(rb'"id":"([^"]+)"', reply)
                assert found is not None
                ids.append(found[1].decode())
    return ids


@pytest.mark.time_limit(900)
def test_a_backlog_behind_a_stalled_lane_costs_no_memory_and_holds_nobody_up(
    tmp_path: Path,
) -> None:
    with (
        MockUpstream("--latency-ms", "3600000") as stalled,
        Gateway(tmp_path, config=config(stalled, slots=1)) as gateway,
        client(gateway) as http,
    ):
        for _ in range(20):
            wait_done(http, submit(http, chat("warm", "mock/echo")))
        idle_mb = gateway.rss_mb()
        ids = flood(gateway.port, BACKLOG)
        metrics = http.get("/metrics").text
        assert f'hermod_jobs{{lane="openai",state="queued"}} {len(ids) - 1}.0' in metrics
        for job_id in ids[:: max(len(ids) // 500, 1)]:
            assert http.get(f"{PATH}/{job_id}").status_code == 202
        assert wait_done(http, submit(http, chat("beside", "mock/echo")))["status"] == "completed"
        grown_mb = gateway.rss_mb() - idle_mb
        assert grown_mb <= GROWTH_MB, f"{idle_mb:.1f} MB idle, {grown_mb:+.1f} with {len(ids)}"
        gateway.send(signal.SIGTERM)
        assert gateway.wait_exit() == 0
    with (
        MockUpstream("--latency-ms", "5") as quick,
        Gateway(tmp_path, config=config(quick, slots=4)) as gateway,
        client(gateway) as http,
    ):
        for job_id in ids[:200]:
            assert wait_done(http, job_id)["status"] == "completed"
        assert gateway.rss_mb() - idle_mb <= GROWTH_MB
