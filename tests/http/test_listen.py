"""Listening sockets: every address of a name, all on one port."""

import errno
import socket
from contextlib import ExitStack, closing

import pytest

from hermod.clock import SystemClock
from hermod.http.listen import listen
from hermod.http.server import HttpServer
from tests.support.raw_http import Echo, ask

GET = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"


def addresses(host: str) -> set[str]:
    found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    return {str(address[0]) for *_, address in found}


def test_every_address_of_a_name_gets_the_same_free_port() -> None:
    with ExitStack() as stack:
        made = [stack.enter_context(each) for each in listen("localhost", 0, 16)]
        assert {each.getsockname()[0] for each in made} <= addresses("localhost")
        assert len({each.getsockname()[1] for each in made}) == 1
        assert made[0].getsockname()[1] > 0


def test_an_address_of_another_machine_is_refused_by_name() -> None:
    # TEST-NET-3 of RFC 5737: nobody has it.
    with pytest.raises(OSError, match=r"cannot listen on 203\.0\.113\.1:0: .*address") as caught:
        listen("203.0.113.1", 0, 16)
    assert caught.value.errno == errno.EADDRNOTAVAIL


def test_a_host_that_cannot_be_resolved_is_refused_by_name() -> None:
    with pytest.raises(OSError, match=r"cannot listen on no such host:80: "):
        listen("no such host", 80, 16)


def test_a_port_that_is_taken_in_one_family_is_refused() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on localhost:{port}: Address already"):
            listen("localhost", port, 16)


async def test_two_servers_can_share_a_socket_and_one_goes_on_without_the_other() -> None:
    shared = listen("127.0.0.1", 0, 16)
    clock = SystemClock()
    servers = [
        HttpServer(Echo(), host="127.0.0.1", port=0, clock=clock, sockets=[each.dup()])
        for each in shared * 2
    ]
    for server in servers:
        await server.start()
    assert {server.port for server in servers} == {shared[0].getsockname()[1]}
    servers[0].stop_listening()
    for _ in range(4):
        assert (await ask(servers[1], GET)).status == 200
    for server in servers:
        await server.stop(grace_s=0)
    shared[0].close()
