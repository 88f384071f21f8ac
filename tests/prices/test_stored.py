"""Price data that was fetched: prices/stored.py, prices/refresh.py and `hermod prices`."""

import asyncio
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from hermod.cli.prices import prices
from hermod.domain.usage import Usage
from hermod.prices.builtin import as_json, builtin_prices, package_version, written_by_setup
from hermod.prices.data import Data
from hermod.prices.prices import Prices
from hermod.prices.refresh import RefreshFailed, fetch_prices
from hermod.prices.stored import FILE, current_prices, store_prices
from tests.net.upstream import Peer, reply_bytes, upstream
from tests.prices.oracle import NOON, data, raw


class Noon:
    """A clock that stands still."""

    def now(self) -> int:
        return NOON

    def monotonic(self) -> float:
        return 0.0


def dearer() -> bytes:
    """The package's data, but a million tokens into gpt-4o cost 77 dollars."""
    providers = msgspec.json.decode(raw())
    for provider in providers:
        for model in provider["models"]:
            if (provider["id"], model["id"]) == ("openai", "gpt-4o"):
                model["prices"] = {"input_mtok": 77, "output_mtok": 1.5}
    return msgspec.json.encode(providers)


def cost(app_dir: Path) -> int | None:
    """What a million tokens into gpt-4o cost by the data of this directory."""
    book = Prices(lambda: current_prices(app_dir, data), Noon())
    return book.cost("openai", "gpt-4o", Usage(1_000_000))


def test_the_built_in_data_is_read_by_a_process_of_its_own(tmp_path: Path) -> None:
    found = builtin_prices(tmp_path / "none")
    assert found.find("openai", "gpt-4o") is not None
    assert found.source == f"genai-prices {package_version()}"


def test_set_up_has_left_what_the_package_says() -> None:
    assert written_by_setup().read_bytes() == as_json()


def test_where_no_process_can_be_started_the_data_is_read_in_this_one(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert builtin_prices(tmp_path / "none").find("openai", "gpt-4o") is not None
    assert "another one cannot" in caplog.text


def test_the_gateway_never_imports_the_package() -> None:
    program = (
        "import sys, hermod.prices.prices as p, hermod.prices.stored, hermod.prices.builtin as b;"
        "b.builtin_prices(b.Path('nowhere')).check();"
        "sys.exit(any(name in sys.modules for name in ('genai_prices', 'pydantic', 'httpx2')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_fetched_prices_are_used(tmp_path: Path) -> None:
    store_prices(tmp_path, dearer(), NOON)
    assert cost(tmp_path) == 77_000_000_000
    assert current_prices(tmp_path, data).source == "fetched 2026-11-22T12:00:00Z"
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_fetched_prices_are_older_than_those_of_another_release(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = store_prices(tmp_path, dearer(), NOON)
    path.write_bytes(path.read_bytes().replace(package_version().encode(), b"0.0.1", 1))
    assert cost(tmp_path) == cost(tmp_path / "nothing")
    assert "hermod prices refresh" in caplog.text


@pytest.mark.parametrize("kept", [0, 1, 100, 10_000, -1])
def test_a_broken_file_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kept: int
) -> None:
    path = store_prices(tmp_path, dearer(), NOON)
    path.write_bytes(path.read_bytes()[:kept])
    assert cost(tmp_path) == cost(tmp_path / "nothing")
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert FILE in caplog.text


BAD = [
    b'[{"id":"openai","models":7}]',
    b'[{"id":"openai","models":[{"id":"m","match":{"regex":"("},"prices":{}}]}]',
    b'[{"id":"o","models":[{"id":"m","match":{"equals":"m"},"prices":{"input_mtok":-1}}]}]',
    b'[{"id":"o","models":[{"id":"m","match":{"equals":"m"},"prices":{"input_mtok":"NaN"}}]}]',
    b'[{"id":"o","models":[{"id":"m","match":{"equals":"m"},"prices":{"input_mtok":true}}]}]',
    b'[{"id":"o","models":[{"id":"m","match":%s},"prices":{}}]}]'.replace(
        b"%s", b'{"or":[' * 20 + b'{"equals":"m"}' + b"]}" * 19 + b"]"
    ),
    b'{"openai":[]}',
    b"\xff",
]


@pytest.mark.parametrize("providers", BAD)
def test_data_of_another_shape_is_ignored_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, providers: bytes
) -> None:
    whole = b'{"fetched_at":"then","package":"%b","providers":%b}'
    (tmp_path / FILE).write_bytes(whole % (package_version().encode(), providers))
    assert current_prices(tmp_path, data).source == "the package"
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


PUBLISHED = b"""[{"id":"acme","name":"Acme","pricing_urls":["https://example.com"],
"api_pattern":"x","extractors":[{"api_flavor":"chat","root":"usage","mappings":[]}],
"models":[{"id":"night","name":"Night","match":{"or":[{"starts_with":"night"}]},
"context_window":1000,"prices":[{"prices":{"input_mtok":{"base":1,"tiers":[{"start":200,"price":3}]},
"output_mtok":2.5,"web_searches_kcount":10}},{"constraint":{"start_time":"16:30:00Z",
"end_time":"00:30:00Z"},"prices":{"input_mtok":0.5}}]}]}]"""
"""With everything that the published file has and that is not read here."""


def test_the_published_form_is_read() -> None:
    found = Data(PUBLISHED, "a test")
    assert found.check() == 1
    night = found.find("acme", "Night-1")
    assert night is not None
    hour = 3_600_000_000
    asked = [(NOON, 200), (NOON, 201), (NOON + 6 * hour, 201), (NOON + 12 * hour, 100)]
    costs: list[int | None] = []
    for at, tokens in asked:
        tiers = night.at(at)
        assert tiers is not None
        costs.append(tiers.for_input(tokens).cost_usd_nanos(Usage(tokens)))
    assert costs == [200_000, 603_000, 100_500, 50_000]


# Fetching


async def answered_with(reply: bytes, into: Path) -> str:
    """What `fetch_prices` did with this reply: "stored", or why not."""

    async def serve(peer: Peer) -> None:
        await peer.request()
        await peer.send(reply)

    async with upstream(serve) as server:
        try:
            body, _ = await fetch_prices(
                f"http://localhost:{server.port}/data.json", user_agent="hermod/test"
            )
        except RefreshFailed as error:
            return str(error)
    store_prices(into, body, NOON)
    return "stored"


async def test_a_refresh_fetches_checks_and_keeps(tmp_path: Path) -> None:
    assert await answered_with(reply_bytes(dearer()), tmp_path) == "stored"
    assert cost(tmp_path) == 77_000_000_000


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (reply_bytes(b"<html>Sign in</html>"), "holds no price data"),
        (reply_bytes(b"[]"), "holds no price data: 0 models"),
        (reply_bytes(BAD[1]), "holds no price data"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered with status 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n[", ""),
    ],
)
async def test_what_is_no_price_data_is_not_kept(tmp_path: Path, reply: bytes, why: str) -> None:
    assert why in await answered_with(reply, tmp_path)
    assert os.listdir(tmp_path) == []


async def test_the_command_fetches_only_when_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HERMOD_APP_DIR", str(tmp_path))
    asked: list[bytes] = []

    async def serve(peer: Peer) -> None:
        asked.append((await peer.request()).lines[0])
        await peer.send(reply_bytes(dearer()))

    async with upstream(serve) as server:
        shown = await ran("show", "openai/gpt-4o")
        assert (shown.exit_code, asked) == (0, [])
        assert "77 $" not in shown.output
        done = await ran("refresh", "--url", f"http://localhost:{server.port}/data.json")
        assert (done.exit_code, asked) == (0, [b"GET /data.json HTTP/1.1"])
        shown = await ran("show", "openai/gpt-4o")
        assert "openai in fetched 20" in shown.output
        assert "77 $ for a million tokens of input" in shown.output
        assert len(asked) == 1
        failed = await ran("refresh", "--url", "http://127.0.0.1:1/")
        assert failed.exit_code == 1
        assert "is as it was" in failed.output


async def ran(*arguments: str) -> Result:
    """`hermod prices` with these arguments."""
    return await asyncio.to_thread(CliRunner().invoke, prices, list(arguments))


async def test_the_command_knows_the_operators_own_prices(tmp_path: Path) -> None:
    own = {"mine/m": {"input_usd_per_mtok": 2.5, "request_usd": 0.001}}
    (tmp_path / "config.json").write_text(json.dumps({"hermod": {"prices": own}}))
    shown = await ran("show", "mine/m", "--app-dir", str(tmp_path))
    assert shown.exit_code == 0
    assert shown.output.splitlines() == [
        "mine/m: mine/m, hermod.prices",
        "           2.5 $ for a million tokens of input",
        "             1 $ for a thousand requests",
    ]
    unknown = await ran("show", "mine/other", "--app-dir", str(tmp_path))
    assert (unknown.exit_code, "is not known" in unknown.output) == (1, True)
    assert (await ran("show", "gpt-4o")).exit_code == 2
