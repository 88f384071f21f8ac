"""F13: upstreams that say they are broken, and ways to them that are."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.faults.places import SqlitePlace, config_for, provider_at
from tests.faults.upstreams import JSON, Asked, Behaviour, answers, behaving
from tests.faults.workload import clients_of, fault_of
from tests.net.upstream import Peer
from tests.support.fault_proxy import FaultProxy

QUICK: dict[str, Any] = {"upkeep_s": 0.3}
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
STATUSES = (500, 502, 503, 504, 529)


async def reset_after(peer: Peer, _: Asked) -> None:
    peer.reset()
    await peer.until_closed()


async def half_close(peer: Peer, _: Asked) -> None:
    await peer.send(HEAD + b"Content-Length: 100\r\n\r\n{")
    peer.half_close()
    await peer.until_closed()


def statuses() -> dict[str, Behaviour]:
    return {
        f"s{status}": answers(b'{"error":{"message":"m"}}', JSON, status=b"%d Broken" % status)
        for status in STATUSES
    }


async def test_what_may_pass_is_tried_again_and_says_what_it_was(file: SqlitePlace) -> None:
    behaviours = {**statuses(), "reset": reset_after, "half-close": half_close}
    async with behaving(behaviours) as upstream:
        with file.start("gateway", config_for(QUICK, openai=upstream.url)) as gateway:
            async with clients_of(gateway.url) as clients:
                ids = {name: await clients.submit(f"openai/{name}") for name in behaviours}
                await clients.settle()
                assert clients.ends() == {"failed": len(behaviours)}
    states = {}
    for name, job_id in ids.items():
        assert job_id is not None
        # So many failures make the gateway careful: attempts that it held back were never sent.
        found = [state for _, state, _ in file.attempts_of(job_id)]
        states[name] = [state for state in found if state != "unsent"]
    # A request that went out and was not answered may have taken effect.
    broken = dict.fromkeys(("reset", "half-close"), ["unknown"] * 3)
    assert states == {f"s{status}": ["failed"] * 3 for status in STATUSES} | broken
    assert len(upstream.calls()) == 3 * len(behaviours)


async def test_a_connection_that_breaks_before_the_request_is_made_anew(file: SqlitePlace) -> None:
    async with behaving({}) as upstream:
        port = int(upstream.url.rpartition(":")[2])
        async with FaultProxy("127.0.0.1", port) as proxy:
            await proxy.down(refuse=False)
            config = config_for(QUICK)
            config["providers"]["openai"] = provider_at(
                f"http://127.0.0.1:{proxy.port}", max_retries=10, retry_backoff_max=500
            )
            with file.start("gateway", config) as gateway:
                async with clients_of(gateway.url) as clients:
                    await clients.submit_many(20, "openai/fine")
                    async with asyncio.timeout(20):
                        while proxy.accepted < 20:
                            await asyncio.sleep(0.02)
                    await proxy.up()
                    await clients.settle()
                    assert clients.ends() == {"completed": 20}
                    clients.judge([upstream], await file.stored(), max_retries=10)


async def test_every_reply_cut_in_the_middle_is_read_by_nobody(file: SqlitePlace) -> None:
    async with behaving({}) as upstream:
        port = int(upstream.url.rpartition(":")[2])
        async with FaultProxy("127.0.0.1", port) as proxy:
            proxy.downstream.slicer(7)
            proxy.downstream.limit_data(700)
            url = f"http://127.0.0.1:{proxy.port}"
            with file.start("gateway", config_for(QUICK, openai=url)) as gateway:
                async with clients_of(gateway.url) as clients:
                    await clients.submit_many(40, "openai/fine")
                    await clients.settle()
                    proxy.clear()
                    await clients.submit_many(10, "openai/fine")
                    await clients.settle()
                    clients.judge([upstream], await file.stored())
                    assert clients.ends()["completed"] >= 10


async def test_a_redirect_takes_the_key_nowhere(file: SqlitePlace) -> None:
    async with behaving({}) as elsewhere:
        target = f"Location: {elsewhere.url}/v1/chat/completions".encode()
        behaviours = {
            f"r{status}": answers(b"", target, status=b"%d Moved" % status)
            for status in (301, 302, 303, 307, 308)
        }
        async with behaving(behaviours) as upstream:
            with file.start("gateway", config_for(QUICK, openai=upstream.url)) as gateway:
                async with clients_of(gateway.url) as clients:
                    found = [await fault_of(clients, file, f"openai/{name}") for name in behaviours]
        assert set(found) == {("failed", "upstream_invalid")}
        assert all(b"sk-upstream-secret" in asked.received.head for asked in upstream.asked)
        assert elsewhere.asked == []


@pytest.fixture
def untrusted(tmp_path: Path) -> ssl.SSLContext:
    """What a server shows whose certificate nobody has signed but itself."""
    assert shutil.which("openssl"), "the openssl program makes the certificate"
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    command = f"openssl req -x509 {key} -nodes -days 2 {name} -keyout key.pem -out cert.pem"
    subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


async def test_an_upstream_that_cannot_be_trusted_or_found_gets_no_request(
    file: SqlitePlace, untrusted: ssl.SSLContext
) -> None:
    async with behaving({}, untrusted) as upstream:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            config = config_for(
                QUICK,
                openai=upstream.url,
                mistral="http://no-such-host.invalid",
                groq=f"http://127.0.0.1:{closed.getsockname()[1]}",
            )
            with file.start("gateway", config) as gateway:
                async with clients_of(gateway.url) as clients:
                    ids = {
                        name: await clients.submit(f"{name}/any") for name in config["providers"]
                    }
                    await clients.settle()
                    assert clients.ends() == {"failed": 3}
                    clients.judge([upstream], await file.stored())
        assert upstream.asked == []
    attempts = {name: file.attempts_of(job_id or "") for name, job_id in ids.items()}
    # A certificate does not get better by asking again.
    assert attempts["openai"] == [(1, "failed", "network_error")]
    again = [(n, "failed", "network_error") for n in (1, 2, 3)]
    assert attempts["mistral"] == attempts["groq"] == again
