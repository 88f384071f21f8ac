"""F22: no room on a disk. F23: no descriptors. What tests/acceptance/test_exhaustion.py leaves."""

import asyncio
import re
import resource
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.faults.places import SqlitePlace, config_for, free_port, write_config
from tests.faults.upstreams import Recorder
from tests.faults.workload import clients_of
from tests.support.program import HERMOD, chat
from tests.support.waiting import wait_until

QUICK: dict[str, Any] = {"upkeep_s": 0.3, "drain_s": 5}
PATH = "/v1/async/chat/completions"


@contextmanager
def starting_with(what: int, soft: int) -> Iterator[None]:
    """A limit for the programs that are started meanwhile; ours is as before at the end."""
    before = resource.getrlimit(what)
    resource.setrlimit(what, (soft, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(what, before)


# F22


def test_a_disk_that_is_full_at_the_first_start_is_told_in_a_sentence(file: SqlitePlace) -> None:
    with starting_with(resource.RLIMIT_FSIZE, 8192):
        refused = file.start("gateway", config_for(QUICK))
    with refused:
        assert refused.wait_exit() == 2, refused.output
        assert re.search("disk|room|space|too large", refused.output), refused.output
        assert "Traceback" not in refused.output
    with file.start("gateway", config_for(QUICK)) as gateway:
        assert httpx.get(f"{gateway.url}/health", trust_env=False).status_code == 200


def test_an_app_dir_where_nobody_may_write_is_told_in_a_sentence(tmp_path: Path) -> None:
    config = str(write_config(tmp_path, "gateway", config_for(QUICK)))
    # A file system that refuses even root.
    refused = subprocess.run(
        [str(HERMOD), "serve", "--port", "0", "--app-dir", "/sys/hermod", "--config", config],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert refused.returncode == 2, refused.stderr
    assert "/sys/hermod" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr", "both"])
def test_a_full_log_disk_stops_no_job(file: SqlitePlace, tmp_path: Path, stream: str) -> None:
    port = free_port()
    config = str(write_config(tmp_path, "gateway", config_for(QUICK)))
    options = ["--port", str(port), "--app-dir", str(file.app_dir), "--config", config]
    with Path("/dev/full").open("w") as full:
        process = subprocess.Popen(
            [str(HERMOD), "serve", "--log-level", "debug", *options],
            stdout=full if stream != "stderr" else subprocess.DEVNULL,
            stderr=full if stream != "stdout" else subprocess.DEVNULL,
        )
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            wait_until(lambda: process.poll() is not None or is_ready(http), timeout_s=30)
            assert process.poll() is None, "it ended because nobody could read what it says"
            job_ids = [http.post(PATH, json=chat("hi")).json()["id"] for _ in range(20)]
            for job_id in job_ids:
                wait_until(lambda i=job_id: http.get(f"{PATH}/{i}").status_code == 200)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def is_ready(http: httpx.Client) -> bool:
    try:
        return http.get("/health/readiness").status_code == 200
    except httpx.TransportError:
        return False


WAL_LIMIT_MB = 64.0


@pytest.mark.time_limit(300)
async def test_a_log_that_a_long_reader_made_grow_shrinks_when_the_reader_leaves(
    file: SqlitePlace, all_points: bool
) -> None:
    filler = "x" * 60_000
    rounds = 30 if all_points else 1
    wal = file.app_dir / "hermod.db-wal"

    def wal_mb() -> float:
        return wal.stat().st_size / 2**20

    with file.start("gateway", config_for(QUICK)) as gateway:
        async with clients_of(gateway.url) as clients:
            await clients.submit("mock/echo")
            uri = f"file:{file.app_dir / 'hermod.db'}?mode=ro"
            with closing(sqlite3.connect(uri, uri=True)) as reader:
                reader.execute("BEGIN")
                reader.execute("SELECT count(*) FROM job").fetchall()
                for _ in range(rounds):
                    await clients.submit_many(200, "mock/echo", text=filler)
                await clients.settle(120)
                grown_mb = wal_mb()
                assert grown_mb > rounds * 15
            await clients.submit_many(100, "mock/echo", text=filler)
            await clients.settle(60)
            assert wal_mb() <= WAL_LIMIT_MB, f"grown to {grown_mb:.0f} MB"
            gateway.send(signal.SIGTERM)
            assert await asyncio.to_thread(gateway.wait_exit) == 0
            clients.judge([], await file.stored())


# F23


@pytest.mark.parametrize("files", [64, pytest.param(256, marks=pytest.mark.long_form)])
async def test_a_crowd_of_idle_connections_finds_few_descriptors_and_the_rest_is_served(
    file: SqlitePlace, tmp_path: Path, files: int
) -> None:
    with Recorder(tmp_path / "calls", "--echo", "--latency-ms", "200") as upstream:
        program = tmp_path / "hermod"
        program.write_text(f'#!/bin/sh\nulimit -n {files}\nexec "{HERMOD}" "$@"\n', "ascii")
        program.chmod(0o700)
        config = config_for(QUICK, openai=upstream)
        with file.start("gateway", config, program=program) as gateway, ExitStack() as crowd:
            async with clients_of(gateway.url) as clients:
                await clients.submit_many(20, "openai/any")
                for _ in range(1000):
                    idle = crowd.enter_context(socket.socket())
                    idle.setblocking(False)
                    idle.connect_ex(("127.0.0.1", gateway.port))
                await clients.submit_many(20, "openai/any", "mock/echo")
                assert gateway.process.poll() is None, gateway.output
                crowd.close()
                await clients.submit_many(20, "openai/any", "mock/echo")
                await clients.settle()
                assert len(clients.accepted) >= 40
                assert set(clients.ends()) == {"completed"}
                clients.judge([upstream], await file.stored())
            assert "Traceback" not in gateway.output, gateway.output
