"""The route table and the guards of every route, on a whole gateway inside the test's loop."""

import asyncio
import logging
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from hermod.http.app import App, Level, Route
from hermod.http.browsers import Browsers
from hermod.http.message import Request, Response
from hermod.kinds.registry import KINDS
from tests.support.inprocess import Running, gateway
from tests.support.raw_http import ask, serving

CHAT = "/v1/async/chat/completions"
NOT_ALLOWED = (
    "this {} is not allowed; add the origin, as in https://gateway.example.com, "
    "to client.allowed_origins"
)
HELLO: dict[str, Any] = {"model": "mock/hello", "messages": [{"role": "user", "content": "hi"}]}
UNKNOWN = "01890000-0000-7000-8000-000000000000"
PROBES = (
    "/health",
    "/health/liveness",
    "/health/liveliness",
    "/health/readiness",
    "/metrics",
)
PUBLIC = (*PROBES, "/openapi.json", "/docs", "/docs/init.js")
SUBMITS = tuple(f"/v1/async/{kind.path}" for kind in KINDS)
POLLS = tuple(f"{path}/{UNKNOWN}" for path in SUBMITS)
TOKEN = "canary-admin-token-0123456789"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}
NO_SUCH_JOB = (
    b'{"is_bifrost_error":false,"status_code":404,'
    b'"error":{"message":"job not found or expired"},"extra_fields":{}}\n'
)


def message_of(response: httpx.Response, status: int) -> str:
    """The message of an error, whose shape, type and length must be the wire's."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    assert int(response.headers["content-length"]) == len(response.content)
    assert response.content.endswith(b"}\n")
    whole = response.json()
    text: str = whole["error"]["message"]
    expected: dict[str, Any] = {
        "is_bifrost_error": False,
        "status_code": status,
        "error": {"message": text},
        "extra_fields": {},
    }
    if status == 401:
        expected["type"] = "unauthorized"
    assert whole == expected
    return text


async def submitted(running: Running, body: dict[str, Any] = HELLO, path: str = CHAT) -> str:
    """The id of an accepted job."""
    response = await running.http.post(path, json=body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


async def ended(running: Running, job_id: str, path: str = CHAT) -> dict[str, Any]:
    """The job once it has ended."""
    async with asyncio.timeout(20):
        while True:
            response = await running.http.get(f"{path}/{job_id}")
            assert response.status_code in (200, 202), response.text
            if response.status_code == 200:
                return response.json()
            await asyncio.sleep(0.01)


# Which routes there are


async def test_a_known_path_with_another_method_is_405_and_says_which_are_allowed(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        table = [(path, "GET, HEAD", ("POST", "PUT", "OPTIONS")) for path in (*PUBLIC, *POLLS)]
        table += [(path, "POST", ("GET", "HEAD", "DELETE", "PATCH")) for path in SUBMITS]
        for path, allowed, methods in table:
            for method in methods:
                response = await running.http.request(method, path)
                assert response.headers["allow"] == allowed, (method, path)
                if method == "HEAD":
                    assert (response.status_code, response.content) == (405, b"")
                else:
                    assert message_of(response, 405) == "method not allowed"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/async",
        "/v1/async/",
        "/v1/async/jobs",
        f"/v1/async/jobs/{UNKNOWN}",
        f"/v1/async/{UNKNOWN}",
        "/v1/chat",
        f"{CHAT}/{UNKNOWN}/",
        f"{CHAT}/{UNKNOWN}/cancel",
        f"/{CHAT}",
        f"//v1/async/chat/completions/{UNKNOWN}",
        f"/V1/async/chat/completions/{UNKNOWN}",
        f"/./v1/async/chat/completions/{UNKNOWN}",
        f"/v1/async/../async/chat/completions/{UNKNOWN}",
        "/health/",
        "/metrics/x",
        "/favicon.ico",
    ],
)
async def test_an_unknown_path_is_404_without_repeating_it(tmp_path: Path, path: str) -> None:
    async with gateway(tmp_path) as running:
        for method in ("GET", "POST"):
            # By hand: a client of good manners would tidy the path up first.
            request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
            response = await ask(running.service._server, request.encode())
            assert (response.status, response.message()) == (404, "route not found")


async def test_head_answers_like_get_without_the_body(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        job_id = await submitted(running)
        await ended(running, job_id)
        # Not /metrics: its figures move between the two requests.
        for path in ("/health", "/openapi.json", f"{CHAT}/{job_id}", POLLS[0]):
            got, head = await running.http.get(path), await running.http.head(path)
            assert head.content == b""
            assert head.status_code == got.status_code
            assert dict(head.headers) | {"date": ""} == dict(got.headers) | {"date": ""}


async def test_a_method_in_a_header_changes_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        headers = {"X-HTTP-Method-Override": "GET", "X-Method-Override": "GET"}
        response = await running.http.post(POLLS[0], headers=headers)
        assert message_of(response, 405) == "method not allowed"


async def test_a_poll_without_an_id_is_400(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for path in SUBMITS:
            response = await running.http.get(f"{path}/")
            assert message_of(response, 400) == "job_id is required"


# One answer for every job that is not there


async def test_all_404s_of_a_poll_are_the_same_bytes(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        job_id = await submitted(running)
        await ended(running, job_id)
        expired = await running.http.post(
            CHAT, json=HELLO, headers={"x-bf-async-job-result-ttl": "60"}
        )
        expired_id = expired.json()["id"]
        await ended(running, expired_id)
        running.clock.ahead_s = 61
        assert (await running.http.get(f"{CHAT}/{job_id}")).status_code == 200
        paths = (
            f"{CHAT}/{UNKNOWN}",
            f"{CHAT}/{expired_id}",
            f"/v1/async/embeddings/{job_id}",
            f"/v1/async/completions/{job_id}",
            f"/v1/async/responses/{job_id}",
            f"{CHAT}/nonsense",
            f"{CHAT}/{job_id.upper()}",
            f"{CHAT}/{job_id.replace('-', '')}",
            f"{CHAT}/{{{job_id}}}",
            f"{CHAT}/{job_id}%20",
            f"{CHAT}/%C3%A9",
            f"{CHAT}/' OR 1=1 --",
            f"{CHAT}/{'a' * 4000}",
        )
        answers = [await running.http.get(path) for path in paths]
        assert {response.status_code for response in answers} == {404}
        assert {response.content for response in answers} == {NO_SUCH_JOB}
        headers = {frozenset((dict(each.headers) | {"date": ""}).items()) for each in answers}
        assert len(headers) == 1


# The base path


async def test_under_a_base_path_only_the_probes_are_also_found_without_it(tmp_path: Path) -> None:
    async with gateway(tmp_path, base_path="/ai/gw") as running:
        for path in PUBLIC:
            assert (await running.http.get(f"/ai/gw{path}")).status_code == 200
            bare = await running.http.get(path)
            assert bare.status_code == (200 if path in PROBES else 404)
        response = await running.http.post(f"/ai/gw{CHAT}", json=HELLO)
        job_id = response.json()["id"]
        assert response.headers["location"] == f"/ai/gw{CHAT}/{job_id}"
        assert (await ended(running, job_id, f"/ai/gw{CHAT}"))["status"] == "completed"
        for path in (
            f"{CHAT}/{job_id}",
            f"/ai{CHAT}/{job_id}",
            f"/ai/gwx{CHAT}/{job_id}",
            "/ai/gw",
        ):
            assert message_of(await running.http.get(path), 404) == "route not found"
        document = (await running.http.get("/ai/gw/openapi.json")).json()
        assert document["servers"] == [{"url": "/ai/gw"}]
        assert CHAT in document["paths"]


# Who may call


async def test_on_an_open_address_every_route_but_the_public_ones_wants_the_admin_token(
    tmp_path: Path,
) -> None:
    environ = {"HERMOD_ADMIN_TOKEN": TOKEN}
    async with gateway(tmp_path, environ=environ, host="0.0.0.0") as running:
        wrong: list[dict[str, str]] = [
            {},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer dummy"},
            {"Authorization": f"Bearer {TOKEN}x"},
            {"Authorization": f"Bearer {TOKEN[:-1]}"},
            {"Authorization": TOKEN},
            {"Authorization": f"Basic {TOKEN}"},
            {"x-api-key": f"{TOKEN}x"},
            {"Cookie": f"token={TOKEN}"},
        ]
        for route in running.service.routes:
            path = re.sub(r"\{.*\}", UNKNOWN, route.path)
            if route.access is Level.PUBLIC:
                continue
            for headers in wrong if path in (*SUBMITS, *POLLS) else wrong[:2]:
                response = await running.http.request(route.method, path, headers=headers)
                assert response.status_code == 401, (route, headers)
                assert "Unauthorized" in response.text
                assert response.headers["www-authenticate"] == "Bearer"
        for path in PUBLIC:
            # How much a gateway does is nobody's business where everybody could ask.
            headers = ADMIN if path == "/metrics" else {}
            assert (await running.http.get(path, headers=headers)).status_code == 200


async def test_the_admin_token_opens_an_open_address(tmp_path: Path) -> None:
    environ = {"HERMOD_ADMIN_TOKEN": TOKEN}
    async with gateway(tmp_path, environ=environ, host="0.0.0.0") as running:
        for headers in (
            ADMIN,
            {"x-api-key": TOKEN},
            {"x-goog-api-key": TOKEN},
            {"api-key": TOKEN},
            {"x-bf-vk": TOKEN},
        ):
            response = await running.http.post(CHAT, json=HELLO, headers=headers)
            assert response.status_code == 202
            poll = await running.http.get(response.headers["location"], headers=headers)
            assert poll.status_code in (200, 202)


async def test_no_body_is_read_before_the_caller_is_known(tmp_path: Path) -> None:
    environ = {"HERMOD_ADMIN_TOKEN": TOKEN}
    async with gateway(tmp_path, environ=environ, host="0.0.0.0") as running:
        response = await running.http.post(CHAT, content=b"not json")
        assert message_of(response, 401) == "Unauthorized"


async def test_on_loopback_any_bearer_is_welcome(tmp_path: Path) -> None:
    async with gateway(tmp_path, environ={"HERMOD_ADMIN_TOKEN": TOKEN}) as running:
        job_id = await submitted(running)
        for value in (
            "Bearer dummy",
            "Basic dTpw",
            "nonsense",
            f"Bearer {TOKEN}",
        ):
            headers = {"Authorization": value}
            response = await running.http.post(CHAT, json=HELLO, headers=headers)
            assert response.status_code == 202
            response = await running.http.get(f"{CHAT}/{job_id}", headers=headers)
            assert response.status_code in (200, 202)


async def test_a_virtual_key_that_there_is_not_submits_nothing_and_reads_what_is_open(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        job_id = await submitted(running)
        headers = {"Authorization": "Bearer sk-bf-1"}
        response = await running.http.post(CHAT, json=HELLO, headers=headers)
        assert response.status_code == 403
        assert response.json()["type"] == "virtual_key_not_found"
        assert response.json()["error"]["message"] == "Virtual key not found"
        response = await running.http.get(f"{CHAT}/{job_id}", headers=headers)
        assert response.status_code in (200, 202)


# Draining, and a store that is away


async def test_a_draining_gateway_refuses_new_jobs_and_still_shows_the_old_ones(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as running:
        job_id = await submitted(running, HELLO | {"model": "mock/slow?seconds=600"})
        assert (await running.http.get("/health/readiness")).json() == {
            "status": "ok",
            "components": {"db_pings": "ok"},
        }
        # A job that has not been begun when the drain begins stays pending.
        async with asyncio.timeout(30):
            while (await running.http.get(f"{CHAT}/{job_id}")).json()["status"] == "pending":
                await asyncio.sleep(0.01)
        running.stop()
        response = await running.http.post(CHAT, json=HELLO)
        assert message_of(response, 503) == "the gateway is shutting down"
        assert response.headers["retry-after"] == "1"
        readiness = await running.http.get("/health/readiness")
        assert (readiness.status_code, readiness.json()) == (503, {"status": "draining"})
        assert (await running.http.get("/health/liveness")).json() == {"status": "ok"}
        assert (await running.http.get(f"{CHAT}/{job_id}")).json()["status"] == "processing"
        running.service.hurry()


async def test_a_store_that_is_away_is_503_and_never_a_404(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        await running.service.store.close()
        for response in (
            await running.http.post(CHAT, json=HELLO),
            await running.http.get(POLLS[0]),
            await running.http.get("/metrics"),
        ):
            assert message_of(response, 503).startswith("failed to ")
            assert response.headers["retry-after"] == "5"
        for path in ("/health", "/health/readiness"):
            response = await running.http.get(path)
            assert (response.status_code, response.json()["status"]) == (503, "unavailable")
        assert (await running.http.get("/health/liveness")).status_code == 200


# What every response carries


async def test_every_response_carries_the_security_headers(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for method, path in (
            ("POST", CHAT),
            ("GET", POLLS[0]),
            ("GET", "/nowhere"),
            ("PUT", CHAT),
            *(("GET", public) for public in PUBLIC),
        ):
            headers = (await running.http.request(method, path)).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["x-frame-options"] == "DENY"
            assert headers["referrer-policy"] == "no-referrer"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "permissions-policy" in headers
            assert "server" not in headers


async def test_no_secret_is_in_any_answer_or_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and never listens
        port = nobody.getsockname()[1]
        openai = {
            "keys": [{"name": "main", "value": "canary-key-value"}],
            "network_config": {
                "base_url": f"http://127.0.0.1:{port}",
                "max_retries": 0,
                "extra_headers": {"x-secret": "canary-extra-header"},
            },
        }
        config = {"providers": {"openai": openai}, "encryption_key": "canary-encryption-key"}
        environ = {"HERMOD_ADMIN_TOKEN": TOKEN, "GROQ_API_KEY": "canary-environment-key"}
        async with gateway(tmp_path, config=config, environ=environ, host="0.0.0.0") as running:
            answers = [await running.http.get(path) for path in PUBLIC]
            answers.append(await running.http.post(CHAT, headers={"Authorization": TOKEN}))
            running.http.headers.update(ADMIN)
            job_id = await submitted(running, HELLO | {"model": "openai/gpt"})
            failed = await ended(running, job_id)
            assert (failed["status"], failed["status_code"]) == ("failed", 500)
            answers.append(await running.http.get(f"{CHAT}/{job_id}"))
            answers.append(await running.http.post(CHAT, json={}))
            answers.append(await running.http.get(POLLS[0]))
    for response in answers:
        assert "canary" not in response.text
        assert "canary" not in str(response.headers)
    assert "canary" not in caplog.text


async def test_a_defect_of_ours_is_a_500_that_tells_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(_: Request) -> Response:
        raise KeyError("canary")

    app = App([Route("GET", "/x", broken, access=Level.PUBLIC)], Browsers((), loopback=True))
    async with serving(app) as server:
        response = await ask(server, b"GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert (response.status, response.message()) == (500, "internal error")
    assert "canary" in caplog.text


# Browser pages


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:3000", 202),
        ("http://127.0.0.1:8080", 202),
        ("http://[::1]:5173", 202),
        ("https://app.example.com", 202),
        ("http://app.example.com", 403),
        ("https://app.example.com:444", 403),
        ("https://evil.example.com", 403),
        ("http://localhost.evil.example", 403),
        ("http://localhost@evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
async def test_on_loopback_only_pages_of_this_machine_and_named_ones_may_call(
    tmp_path: Path, origin: str, status: int
) -> None:
    config = {"client": {"allowed_origins": ["https://app.example.com"]}}
    async with gateway(tmp_path, config=config) as running:
        response = await running.http.post(CHAT, json=HELLO, headers={"Origin": origin})
        assert response.status_code == status
        if status == 403:
            text = NOT_ALLOWED.format("origin")
            assert message_of(response, 403) == text
            assert "access-control-allow-origin" not in response.headers
        else:
            assert response.headers["access-control-allow-origin"] == origin
            assert response.headers["vary"] == "origin"


async def test_a_star_lets_every_page_call_and_read(tmp_path: Path) -> None:
    config = {"client": {"allowed_origins": ["*"]}}
    async with gateway(tmp_path, config=config) as running:
        headers = {"Origin": "https://evil.example.com", "Host": "gateway.example.com"}
        response = await running.http.post(CHAT, json=HELLO, headers=headers)
        assert response.status_code == 202
        assert response.headers["access-control-allow-origin"] == "https://evil.example.com"


async def test_a_page_that_may_call_may_read_errors_too(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        headers = {"Origin": "http://localhost:3000"}
        for path, status in ((POLLS[0], 404), ("/nowhere", 404), (SUBMITS[0], 405)):
            response = await running.http.get(path, headers=headers)
            message_of(response, status)
            assert response.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_a_preflight_of_an_admitted_page_is_granted_what_the_path_has(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        headers = {
            "Origin": "http://localhost:3000",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,content-type",
        }
        response = await running.http.options(CHAT, headers=headers)
        assert (response.status_code, response.content) == (204, b"")
        assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert response.headers["access-control-allow-methods"] == "POST"
        assert response.headers["access-control-allow-headers"] == "authorization,content-type"
        response = await running.http.options("/nowhere", headers=headers)
        assert message_of(response, 404) == "route not found"
        response = await running.http.options(CHAT, headers=headers | {"Origin": "https://e.test"})
        message_of(response, 403)


async def test_on_an_open_address_pages_are_judged_by_the_token_and_only_named_ones_may_read(
    tmp_path: Path,
) -> None:
    environ = {"HERMOD_ADMIN_TOKEN": TOKEN}
    config = {"client": {"allowed_origins": ["https://app.example.com"]}}
    async with gateway(tmp_path, config=config, environ=environ, host="0.0.0.0") as running:
        running.http.headers.update(ADMIN)
        for origin, readable in (("https://app.example.com", 1), ("https://else.example.com", 0)):
            headers = {"Origin": origin, "Host": "gateway.example.com"}
            response = await running.http.post(CHAT, json=HELLO, headers=headers)
            assert response.status_code == 202
            assert ("access-control-allow-origin" in response.headers) == bool(readable)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LOCALHOST:8080", 200),
        ("127.0.0.1:1", 200),
        ("[::1]:8080", 200),
        ("192.168.1.5", 200),
        ("gateway:8080", 200),
        ("host.docker.internal:8080", 200),
        ("app.example.com", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8080", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.", 403),
        ("[::1", 403),
        ("", 403),
    ],
)
async def test_on_loopback_a_name_that_a_stranger_can_own_is_refused(
    tmp_path: Path, host: str, status: int
) -> None:
    config = {"client": {"allowed_origins": ["https://app.example.com"]}}
    async with gateway(tmp_path, config=config) as running:
        request = f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n"
        response = await ask(running.service._server, request.encode())
        assert response.status == status
        if status == 403:
            text = NOT_ALLOWED.format("host")
            assert response.message() == text


async def test_the_slash_of_a_models_name_may_be_encoded_and_no_other(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for path in ("/v1/models/mock%2Fhello", "/openai/v1/models/mock%2fhello"):
            assert (await running.http.get(path)).json()["id"] == "mock/hello"
        for path in ("/v1/models%2Fmock", "/v1%2Fmodels/mock", "/v1/models/a%2f%2f..", "/a%2fb"):
            assert (await running.http.get(path)).status_code == 400


async def test_a_poll_for_nothing_is_not_to_be_cached(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        for path in (f"{CHAT}/{UNKNOWN}", f"/v1/responses/{UNKNOWN}"):
            response = await running.http.get(path)
            assert response.status_code == 404
            assert response.headers["cache-control"] == "no-store"
