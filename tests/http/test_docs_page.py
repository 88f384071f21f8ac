"""`/docs`: complete without anything from elsewhere, and safe to show."""

import re
from pathlib import Path

import pytest

from hermod.http.app import App, Level, Route
from hermod.http.browsers import Browsers
from hermod.http.docs_page import DocsPage
from tests.support.inprocess import gateway
from tests.support.raw_http import ask, serving

ROOT = Path(__file__).parents[2]
TYPES = {
    "docs/init.js": "text/javascript; charset=utf-8",
    "docs/swagger-ui-bundle.js": "text/javascript; charset=utf-8",
    "docs/swagger-ui.css": "text/css; charset=utf-8",
    "docs/favicon-32x32.png": "image/png",
    "openapi.json": "application/json",
}
HOST = "Host: localhost\r\n\r\n"


def addresses(page: str) -> set[str]:
    """Everything a page refers to."""
    return set(re.findall(r'(?:src|href)="([^"]*)"', page))


@pytest.mark.parametrize("base_path", ["", "/ai/gw"])
async def test_everything_the_page_needs_is_served_where_the_page_looks(
    tmp_path: Path, base_path: str
) -> None:
    async with gateway(tmp_path, base_path=base_path) as running:
        page = await running.http.get(f"{base_path}/docs")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        found = addresses(page.text)
        assert found == TYPES.keys()
        for address in found:
            response = await running.http.get(page.url.join(address))
            assert response.status_code == 200, address
            assert response.headers["content-type"] == TYPES[address]
            assert response.content
        init = await running.http.get(page.url.join("docs/init.js"))
        (document,) = re.findall(r'url: "(.*)"', init.text)
        described = (await running.http.get(page.url.join(document))).json()
        # What the page tries out goes to where it came from.
        assert described["servers"] == [{"url": base_path or "/"}]


async def test_the_page_may_run_and_fetch_nothing_but_its_own(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        page = await running.http.get("/docs")
    policies = page.headers.get_list("content-security-policy")
    assert "frame-ancestors 'none'" in policies
    (own,) = (each for each in policies if "default-src" in each)
    assert "default-src 'none'" in own
    assert "unsafe" not in own
    assert re.findall(r"<style|<script(?! src=)| style=| on\w+=", page.text) == []
    assert "://" not in page.text


async def test_a_browser_that_has_a_file_is_not_sent_it_again(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for name in ("init.js", "swagger-ui-bundle.js"):
            first = await running.http.get(f"/docs/{name}")
            tag = first.headers["etag"]
            assert "max-age=" in first.headers["cache-control"]
            for asked in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                again = await running.http.get(f"/docs/{name}", headers={"If-None-Match": asked})
                assert (again.status_code, again.content) == (304, b"")
                assert again.headers["etag"] == tag
                assert "content-length" not in again.headers
            other = await running.http.get(f"/docs/{name}", headers={"If-None-Match": '"other"'})
            assert other.content == first.content


@pytest.mark.parametrize(
    "name", ["", "nothing.js", "swagger-ui.LICENSE", "..", "../docs_page.py", "%2e%2e", "init.js/"]
)
async def test_no_other_file_is_served(tmp_path: Path, name: str) -> None:
    async with gateway(tmp_path) as running:
        request = f"GET /docs/{name} HTTP/1.1\r\n{HOST}"
        response = await ask(running.service._server, request.encode())
        assert (response.status, response.message()) == (404, "route not found")


async def test_without_its_files_the_page_says_which_command_brings_them(tmp_path: Path) -> None:
    docs = DocsPage(tmp_path)
    routes = [
        Route("GET", "/docs", docs.page, access=Level.PUBLIC),
        Route("GET", "/docs/{file}", docs.file, access=Level.PUBLIC),
    ]
    async with serving(App(routes, Browsers((), loopback=True))) as server:
        page = await ask(server, f"GET /docs HTTP/1.1\r\n{HOST}".encode())
        assert page.status == 200
        assert addresses(page.body.decode()) == {"openapi.json"}
        assert b"<code>make setup</code>" in page.body
        assert re.search(r"^setup: ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        missing = await ask(server, f"GET /docs/swagger-ui.css HTTP/1.1\r\n{HOST}".encode())
        assert missing.status == 404


async def test_the_page_needs_no_credential_on_an_open_address(tmp_path: Path) -> None:
    environ = {"HERMOD_ADMIN_TOKEN": "0123456789-0123456789"}
    async with gateway(tmp_path, environ=environ, host="0.0.0.0") as running:
        for path in ("/docs", "/docs/init.js"):
            assert (await running.http.get(path)).status_code == 200


async def test_what_the_page_tries_out_passes_for_a_page_of_this_machine(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        headers = {"Origin": str(running.http.base_url), "Sec-Fetch-Site": "same-origin"}
        body = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
        response = await running.http.post("/v1/async/chat/completions", json=body, headers=headers)
        assert response.status_code == 202


def test_the_files_come_from_one_wheel_that_is_pinned_by_its_hash() -> None:
    lock = (ROOT / "requirements" / "assets.txt").read_text("utf-8")
    assert re.match(r"[a-z-]+==[\d.]+ \\\n(    --hash=sha256:[0-9a-f]{64}\b.*\n)+    # via", lock)
    assert lock.count("==") == 1
    assert "://" not in lock
    script = (ROOT / "requirements" / "assets.sh").read_text("utf-8")
    assert "--require-hashes" in script
    assert "--no-deps" in script
