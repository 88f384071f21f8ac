"""What is refused before a connection is opened."""

import pytest

from hermod.net.messages import NetError, Reason, Request
from hermod.net.target import head_of, target_of


def head(*headers: tuple[str, str], method: str = "POST", body: bytes = b"{}") -> bytes:
    request = Request(method, "https://api.example/v1/x", headers, body)
    return head_of(request, target_of(request.url), "hermod")


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("http://a.example", "a.example", 80, "a.example", "/"),
        ("https://A.Example/v1?x=1", "a.example", 443, "a.example", "/v1?x=1"),
        ("https://a.example:443/", "a.example", 443, "a.example", "/"),
        ("http://a.example:443/", "a.example", 443, "a.example:443", "/"),
        ("http://localhost:11434/v1", "localhost", 11434, "localhost:11434", "/v1"),
        ("http://127.0.0.1/", "127.0.0.1", 80, "127.0.0.1", "/"),
        ("http://[::1]:8000/", "::1", 8000, "[::1]:8000", "/"),
        ("HTTP://under_score/%2e%2E/../x", "under_score", 80, "under_score", "/%2e%2E/../x"),
    ],
)
def test_a_url_is_taken_apart(url: str, host: str, port: int, authority: str, path: str) -> None:
    target = target_of(url)
    assert (target.host, target.port, target.authority, target.path) == (
        host,
        port,
        authority,
        path,
    )
    assert target.is_tls == url.lower().startswith("https:")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/v1/chat",
        "//a.example/",
        "ftp://a.example/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://:80/",
        "http://a.example:0/",
        "http://a.example:65536/",
        "http://a.example:x/",
        "http://user:secret@a.example/",
        "http://@a.example/",
        "http://a.example\\@b.example/",
        "http://a b.example/",
        "http://a.example/a b",
        "http://a.example/\r\nX: 1",
        "http://a.example/\t",
        "http://ä.example/",
        "http://a%2eexample/",
        "http://a..example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 130 + "example/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://a.example/#fragment",
    ],
)
def test_an_impossible_url_is_refused(url: str) -> None:
    with pytest.raises(NetError) as caught:
        target_of(url)
    assert (caught.value.reason, caught.value.sent) == (Reason.INVALID, False)


@pytest.mark.parametrize(
    "value", ["a\rb", "a\nb", "a\r\nX: 1", "a\0b", "a\x7fb", "a\x1fb", "€", "\ud800"]
)
def test_a_value_that_cannot_be_written_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(NetError) as caught:
        head(("Authorization", "Bearer secret" + value))
    assert caught.value.reason is Reason.INVALID
    assert "Authorization" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "ä", "(a)"])
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    with pytest.raises(NetError) as caught:
        head((name, "1"))
    assert caught.value.reason is Reason.INVALID


@pytest.mark.parametrize(
    "name",
    ["Host", "content-length", "Transfer-Encoding", "CONNECTION", "Expect", "Accept-Encoding"],
)
def test_framing_headers_are_refused(name: str) -> None:
    with pytest.raises(NetError, match=name):
        head((name, "1"))


@pytest.mark.parametrize("method", ["post", "HEAD", "CONNECT", "GET / HTTP/1.1\r\n", ""])
def test_other_methods_are_refused(method: str) -> None:
    with pytest.raises(NetError) as caught:
        head(method=method)
    assert caught.value.reason is Reason.INVALID


def test_a_user_agent_can_be_given() -> None:
    assert head(("user-agent", "mine")).lower().count(b"user-agent") == 1


def test_an_empty_post_says_so() -> None:
    assert b"Content-Length: 0\r\n" in head(body=b"")


def test_a_get_without_a_body_has_no_length() -> None:
    assert b"Content-Length" not in head(method="GET", body=b"")


def test_latin_1_is_written_as_it_is() -> None:
    assert b"X-Name: caf\xe9\t!\r\n" in head(("X-Name", "café\t!"))
