"""Credentials in odd headers, as bytes on the wire: one reading of them, or a refusal."""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support.inprocess import Running, gateway
from tests.support.management import TOKEN
from tests.support.raw_http import ask

KEY: Final = b"sk-bf-aaaaaaaa-0000-4000-8000-000000000000"
OTHER: Final = b"sk-bf-bbbbbbbb-0000-4000-8000-000000000000"
ADMIN: Final = TOKEN.encode()
NAMES: Final = (b"authorization", b"x-bf-vk", b"x-api-key", b"x-goog-api-key", b"api-key")
BODY: Final = json.dumps(
    {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
).encode()


@asynccontextmanager
async def locked(app_dir: Path) -> AsyncGenerator[Running]:
    anything = [{"provider": "mock", "allowed_models": ["*"], "key_ids": ["*"]}]
    keys = [
        {"id": name, "name": name, "value": value.decode(), "provider_configs": anything}
        for name, value in (("a", KEY), ("b", OTHER))
    ]
    config = {
        "client": {"enforce_auth_on_inference": True},
        "governance": {"virtual_keys": keys},
    }
    async with gateway(app_dir, config=config, environ={"HERMOD_ADMIN_TOKEN": TOKEN}) as running:
        yield running


async def status(running: Running, *lines: bytes) -> int:
    """Of a job that is submitted with these header lines."""
    head = [
        b"POST /v1/async/chat/completions HTTP/1.1",
        b"Host: localhost",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(BODY),
        *lines,
    ]
    response = await ask(running.service._server, b"\r\n".join([*head, b"", BODY]))
    assert KEY not in response.body
    assert ADMIN not in response.body
    return response.status


def line(name: bytes, secret: bytes, scheme: bytes = b"Bearer ") -> bytes:
    return b"%b: %b%b" % (name, scheme if name.lower() == b"authorization" else b"", secret)


@pytest.mark.parametrize("name", NAMES)
async def test_a_credential_that_comes_twice_is_refused(tmp_path: Path, name: bytes) -> None:
    """Also the same one, in another case, or with another header between them."""
    async with locked(tmp_path) as running:
        assert await status(running, line(name, KEY)) == 202
        for first, second in ((KEY, KEY), (KEY, OTHER), (b"dummy", KEY), (KEY, b""), (ADMIN, KEY)):
            for again in (name, name.upper(), name.title()):
                for between in ((), (b"X-Other: 1",)):
                    lines = (line(name, first), *between, line(again, second))
                    assert await status(running, *lines) == 400, lines


@pytest.mark.parametrize("name", NAMES)
async def test_two_headers_that_name_two_callers_are_refused(tmp_path: Path, name: bytes) -> None:
    async with locked(tmp_path) as running:
        for other in NAMES:
            if other != name:
                assert await status(running, line(name, KEY), line(other, OTHER)) == 400
                assert await status(running, line(name, KEY), line(other, KEY)) == 202


@pytest.mark.parametrize("name", NAMES)
async def test_odd_bytes_are_refused_or_no_credential(tmp_path: Path, name: bytes) -> None:
    table: dict[bytes, set[int]] = {
        line(name, KEY) + b"\r\n folded": {400},
        line(name, b"") + b"\r\n " + KEY: {400},
        line(name, b"") + b"\r\n\t" + KEY: {400},
        line(name, KEY) + b"\n" + line(b"X-Other", b"1"): {400},
        line(name, KEY) + b"\r" + line(b"X-Other", b"1"): {400},
        line(name, KEY + b"\0"): {400},
        line(name, b"\0" + KEY): {400},
        line(name, KEY[:8] + b"\0" + KEY[8:]): {400},
        line(name, KEY + b"\x7f"): {400, 401, 403},
        line(name + b" ", KEY): {400},
        b" " + line(name, KEY): {400},
        name + b"\t: " + KEY: {400},
        line(name, KEY + b", " + KEY): {401, 403},
        line(name, KEY + b"," + OTHER): {401, 403},
        line(name, KEY + b";" + KEY): {401, 403},
        line(name, b'"' + KEY + b'"'): {401, 403},
        line(name, "sk-bf-ü€😀".encode()): {401, 403},
        line(name, KEY + "é".encode("latin-1")): {401, 403},
        line(name, "\ufeff".encode() + KEY): {401, 403},
        line(name, KEY[:6] + b"k" * 8192): {401, 403},
        line(name, KEY + b"k" * 8192): {401, 403},
        line(name, b"k" * 20000): {431},
        line(name, KEY.upper()): {401, 403},
        line(name, KEY[:-1]): {401, 403},
        line(name.replace(b"-", b"_") if b"-" in name else name + b"_", KEY): {401},
        line(name, b"\t " + KEY + b" \t"): {202},
    }
    async with locked(tmp_path) as running:
        for sent, expected in table.items():
            assert await status(running, sent) in expected, sent
        assert await status(running, line(name.upper(), KEY)) == 202


async def test_what_is_nearly_a_bearer_is_none(tmp_path: Path) -> None:
    async with locked(tmp_path) as running:
        for scheme in (b"", b"Bearer", b"Bearer\t", b"Bearer:", b"Bearer=", b"Token ", b"Basic ",
                       b"Bearer Bearer ", b"Bearer,", b"X Bearer ", b"Digest "):  # fmt: skip
            shown = line(b"authorization", KEY, scheme)
            assert await status(running, shown) in (401, 403), scheme
        for scheme in (b"bearer ", b"BEARER ", b"Bearer  ", b"Bearer \t"):
            assert await status(running, line(b"authorization", KEY, scheme)) == 202, scheme


async def test_an_admin_acts_as_a_key_in_one_way_only(tmp_path: Path) -> None:
    """The admin in `Authorization`, the key in `x-bf-vk`; a proxy's addition is no such wish."""
    async with locked(tmp_path) as running:
        for first in NAMES:
            for second in NAMES:
                if first != second:
                    both = line(first, ADMIN), line(second, KEY)
                    meant = (first, second) == (b"authorization", b"x-bf-vk")
                    assert await status(running, *both) == (202 if meant else 400), both
        three = (line(b"authorization", ADMIN), line(b"x-bf-vk", KEY), line(b"api-key", OTHER))
        assert await status(running, *three) == 400
