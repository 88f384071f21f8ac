"""From a name to a connection."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from hermod.net.connection import Connection
from hermod.net.dial import first_up
from hermod.net.messages import NetError, Reason, Request, Trust
from tests.net.upstream import PATIENCE_S, Peer, client, closed, echo, upstream


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a self-signed certificate for localhost, in one PEM file."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program, which makes the certificate, is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    name = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        f"openssl req -x509 {key} -nodes -days 2 {name} -keyout key.pem -out cert.pem".split(),
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    return context


async def test_a_refused_connection_is_not_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        async with client() as http:
            with pytest.raises(NetError) as caught:
                await http.send(Request("POST", url), timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.CONNECT, False)


async def test_an_unknown_name_is_not_sent() -> None:
    async with client() as http:
        for _ in range(2):  # a failed lookup is not remembered
            request = Request("POST", "http://no-such-host.invalid/")
            with pytest.raises(NetError) as caught:
                await http.send(request, timeout_s=PATIENCE_S)
            assert (caught.value.reason, caught.value.sent) == (Reason.CONNECT, False)


async def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers() -> None:
    families = {family for family, *_ in socket.getaddrinfo("localhost", 0)}
    async with upstream(echo) as server, client() as http:
        reply = await http.send(server.post(body=b"here"), timeout_s=PATIENCE_S)
    assert reply.body == b"here"
    assert socket.AF_INET in families


async def test_an_untrusted_certificate_is_refused_before_anything_is_sent(
    server_tls: ssl.SSLContext,
) -> None:
    async with upstream(echo, server_tls) as server, client() as http:
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.TLS, False)


async def test_a_certificate_of_ones_own_can_be_trusted(
    server_tls: ssl.SSLContext, certificate: Path
) -> None:
    trust = Trust(ca_pem=(certificate / "cert.pem").read_text())
    async with upstream(echo, server_tls) as server, client() as http:
        for body in (b"one", b"two"):
            request = replace(server.post(body=body), trust=trust)
            assert (await http.send(request, timeout_s=PATIENCE_S)).body == body
        assert len(server.peers) == 1


async def test_a_trusted_certificate_must_be_for_the_host(
    server_tls: ssl.SSLContext, certificate: Path
) -> None:
    trust = Trust(ca_pem=(certificate / "cert.pem").read_text())
    async with upstream(echo, server_tls) as server, client() as http:
        request = replace(server.post(), url=f"https://127.0.0.1:{server.port}/", trust=trust)
        with pytest.raises(NetError) as caught:
            await http.send(request, timeout_s=PATIENCE_S)
    assert caught.value.reason is Reason.TLS


async def test_verification_can_be_switched_off_for_one_request_only(
    server_tls: ssl.SSLContext,
) -> None:
    async with upstream(echo, server_tls) as server, client() as http:
        lax = replace(server.post(body=b"lax"), trust=Trust(verify=False))
        assert (await http.send(lax, timeout_s=PATIENCE_S)).body == b"lax"
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert caught.value.reason is Reason.TLS


async def test_unreadable_certificates_are_invalid() -> None:
    async with client() as http:
        request = Request("POST", "https://localhost:1/", trust=Trust(ca_pem="not a certificate"))
        with pytest.raises(NetError) as caught:
            await http.send(request, timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.INVALID, False)


async def test_https_to_a_plain_port_is_a_refused_handshake() -> None:
    async def behave(peer: Peer) -> None:
        await asyncio.sleep(0)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await peer.until_closed()

    async with upstream(behave) as server, client() as http:
        server.scheme = "https"
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.TLS, False)


async def test_a_tls_connection_that_drops_in_the_handshake_is_not_sent() -> None:
    async def behave(peer: Peer) -> None:
        peer.reset()

    async with upstream(behave) as server, client() as http:
        server.scheme = "https"
        with pytest.raises(NetError) as caught:
            await http.send(server.post(), timeout_s=PATIENCE_S)
    assert (caught.value.reason, caught.value.sent) == (Reason.CONNECT, False)


async def test_an_address_that_hangs_is_overtaken_by_the_next() -> None:
    gave_up = asyncio.Event()
    second = Connection(set())

    async def connect(address: str) -> Connection:
        if address == "second":
            return second
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            gave_up.set()

    assert await first_up(connect, ["hangs", "second"]) is second
    await asyncio.wait_for(gave_up.wait(), PATIENCE_S)


async def test_addresses_are_tried_in_their_order_until_one_answers() -> None:
    tried: list[str] = []

    async def connect(address: str) -> Connection:
        tried.append(address)
        if address != "third":
            raise ConnectionRefusedError(address)
        return Connection(set())

    await first_up(connect, ["first", "second", "third", "fourth"])
    assert tried == ["first", "second", "third"]


async def test_when_no_address_answers_the_first_error_counts() -> None:
    async def connect(address: str) -> Connection:
        raise ConnectionRefusedError(address)

    with pytest.raises(ConnectionRefusedError, match="first"):
        await first_up(connect, ["first", "second"])


async def test_of_two_connections_that_come_up_the_second_is_closed() -> None:
    ready = asyncio.Event()
    made: list[Connection] = []  # keeps them from being closed as garbage

    async with upstream(echo) as server:

        async def connect(_address: str) -> Connection:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(
                lambda: Connection(set()), "127.0.0.1", server.port
            )
            made.append(connection)
            with suppress(asyncio.CancelledError):  # it comes up just as it is given up
                await ready.wait()
            return connection

        race = asyncio.create_task(first_up(connect, ["first", "second"]))
        for _ in range(2):
            await server.accepted.acquire()
        ready.set()
        winner = await race
        ends = [asyncio.create_task(closed(peer)) for peer in server.peers]
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in done:
            end.result()
        assert winner.is_open()
        winner.abort()
        await asyncio.gather(*ends)


async def test_cancelling_the_race_cancels_every_try() -> None:
    began, ended = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def connect(_: str) -> Connection:
        began.release()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            ended.release()

    race = asyncio.create_task(first_up(connect, ["first", "second"]))
    for _ in range(2):
        await began.acquire()
    race.cancel()
    with pytest.raises(asyncio.CancelledError):
        await race
    for _ in range(2):
        await ended.acquire()


async def test_the_addresses_of_a_name_that_moved_are_asked_for_again() -> None:
    """A connection that fails makes the client forget where the name led."""
    async with upstream(echo) as server, client() as http:
        moved = server.port
        await http.send(server.post(), timeout_s=PATIENCE_S)
        remembered = http._dialer._lookups["localhost", moved]
    async with client() as http:
        http._dialer._lookups["localhost", moved] = remembered
        with pytest.raises(NetError):
            await http.send(server.post(), timeout_s=PATIENCE_S)
        assert not http._dialer._lookups
