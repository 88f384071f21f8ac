"""Where a request that may go to public addresses only can go (reliability.md S3)."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from hermod.domain.addresses import not_public, written_private
from hermod.net.client import HttpClient
from hermod.net.dial import Dialer
from hermod.net.messages import NetError, Reason, Request, Trust
from hermod.net.target import target_of
from tests.net.upstream import PATIENCE_S, client, echo, upstream

PUBLIC = Trust(public_only=True)

NOT_PUBLIC = (
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::8.8.8.8",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "64:ff9b:1:ffff::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:2::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::1",
    "2002:c0a8:101::",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "feff::1",
    "ff02::1",
    "ff0e::1",
    "",
    "localhost",
    "127.1",
)
IS_PUBLIC = (
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "169.253.255.255",
    "172.15.255.255",
    "172.32.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700::1111",
    "2a00:1450::1",
)


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_leads_elsewhere_is_not_public(address: str) -> None:
    assert not_public(address)


@pytest.mark.parametrize("address", IS_PUBLIC)
def test_an_address_beside_the_ranges_is_public(address: str) -> None:
    assert not_public(address) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:11434",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://017700000001",
        "http://0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[fd00:ec2::254]/latest",
        "http://169.254.169.254/latest/meta-data",
        "http://10.0.0.1:22/",
        "http://192.168.1.1:6379",
        "http://localhost/",
        "http://LOCALHOST./",
        "http://a.localhost:25/",
        "http://127.0.0.1./",
        "http://256.256.256.256/",
        "http://08.8.8.8/",
        "http://[::1/",
    ],
)
def test_a_private_host_is_seen_as_it_is_written(url: str) -> None:
    assert written_private(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "https://8.8.8.8/",
        "https://134744072/",
        "https://[2606:4700::1111]/",
        "https://localhost.example.com/",
        "https://10.0.0.1.example.com/",
        "https://1.2.3.4.5/",
    ],
)
def test_a_name_is_left_to_the_resolver(url: str) -> None:
    assert written_private(url) == ""


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_x",
        "ftp://example.com/",
        "//example.com/",
        "http://user:pass@example.com/",
        "http://example.com@127.0.0.1/",
        "http://①②⑦.0.0.1/",
        "http://127。0。0。1/",
        "http://exa\tmple.com/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com:0/",
        "http://example.com:99999/",
    ],
)
def test_what_is_no_plain_address_is_never_asked(url: str) -> None:
    with pytest.raises(NetError) as caught:
        target_of(url)
    assert caught.value.reason is Reason.INVALID


@dataclass
class Names:
    """A resolver that says what it is told to, one answer after the other."""

    answers: list[list[str]]
    asked: list[str] = field(default_factory=list[str])

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def refused(http: HttpClient, request: Request) -> NetError:
    with pytest.raises(NetError) as caught:
        await http.send(request, timeout_s=PATIENCE_S)
    return caught.value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433"])
async def test_a_private_upstream_is_not_called_where_only_public_ones_may_be(host: str) -> None:
    async with upstream(echo) as server, client() as http:
        request = replace(server.post(), url=f"http://{host}:{server.port}/", trust=PUBLIC)
        error = await refused(http, request)
        assert (error.reason, error.sent) == (Reason.NOT_PUBLIC, False)
        assert not server.peers


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["2606:4700::1111", "::ffff:169.254.169.254"],
    ],
)
async def test_one_private_address_of_a_name_refuses_them_all(addresses: Sequence[str]) -> None:
    http = HttpClient(resolve=Names([list(addresses)]))
    request = Request("POST", "https://api.example.com/v1", trust=PUBLIC)
    assert (await refused(http, request)).reason is Reason.NOT_PUBLIC
    await http.close()


async def test_a_name_is_asked_once_and_called_at_what_was_judged() -> None:
    # What a second look would say must not matter.
    async with upstream(echo) as server:
        names = Names([["127.0.0.1"], ["203.0.113.1"]])
        http = HttpClient(resolve=names)
        url = f"http://changes.example:{server.port}/"
        reply = await http.send(replace(server.post(body=b"x"), url=url), timeout_s=PATIENCE_S)
        assert (reply.body, names.asked) == (b"x", ["changes.example"])
        await http.close()


async def test_a_name_that_has_become_private_is_refused_although_it_was_public() -> None:
    names = Names([["127.0.0.1"]])
    http = HttpClient(resolve=names)
    request = Request("POST", "https://changes.example/", trust=PUBLIC)
    for _ in range(2):  # the answer is remembered, and judged each time
        assert (await refused(http, request)).reason is Reason.NOT_PUBLIC
    assert len(names.asked) == 1
    await http.close()


async def test_a_connection_to_a_private_upstream_is_not_shared_with_who_may_not_have_it() -> None:
    async with upstream(echo) as server, client() as http:
        await http.send(server.post(), timeout_s=PATIENCE_S)
        error = await refused(http, replace(server.post(), trust=PUBLIC))
        assert error.reason is Reason.NOT_PUBLIC
        assert len(server.peers) == 1


async def test_the_socket_is_judged_too() -> None:
    # As if a private address had passed for a public one.
    verdicts = iter(["", "loopback"])
    async with upstream(echo) as server:
        dialer = Dialer(judge=lambda _: next(verdicts))
        with pytest.raises(NetError) as caught:
            await dialer.dial(target_of(f"http://127.0.0.1:{server.port}/"), PUBLIC)
        assert (caught.value.reason, caught.value.sent) == (Reason.NOT_PUBLIC, False)
        assert not dialer.open


async def test_the_refusal_names_the_host_and_not_its_address() -> None:
    http = HttpClient(resolve=Names([["10.1.2.3"]]))
    error = await refused(http, Request("POST", "https://inner.example/path", trust=PUBLIC))
    assert "inner.example" in str(error)
    assert "10.1.2.3" not in str(error)
    await http.close()
