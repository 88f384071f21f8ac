"""Who may ask, and who may read (wire-contract 2.2, 2.3, 4.3 to 4.5, 5; 12, points 7 and 14)."""

import base64
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import httpx
import pytest

from tests.faults.places import PLACES, Place
from tests.support.program import Gateway, MockUpstream, chat, client
from tests.support.tokens import AUDIENCE, ISSUER, SHARED, claims, shared, signed, tampered
from tests.support.waiting import wait_until

ASYNC: Final = "/v1/async/chat/completions"
SYNC: Final = "/v1/chat/completions"
ADMIN: Final = "an-admin-token-of-some-length"
HEADERS: Final = ("authorization", "x-bf-vk", "x-api-key", "x-goog-api-key", "api-key")
QUICK: Final = {"retry_backoff_initial": 1, "retry_backoff_max": 10}
MOCK: Final = {"provider": "mock", "weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}


def secret(name: str) -> str:
    """The value of the key of this name."""
    return f"sk-bf-{name}-0000-4000-8000-000000000000"


def key(name: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"vk-{name}",
        "name": name,
        "value": secret(name),
        "provider_configs": [MOCK],
        **more,
    }


def daily(name: str, usd: float) -> dict[str, Any]:
    return {"id": f"budget-{name}", "max_limit": usd, "reset_duration": "1d"}


def per_hour(name: str, **limits: int) -> dict[str, Any]:
    found: dict[str, Any] = {"id": f"limit-{name}"}
    for what, limit in limits.items():
        found |= {f"{what}_max_limit": limit, f"{what}_reset_duration": "1h"}
    return found


def configuration(openai: Mapping[str, Any]) -> dict[str, Any]:
    only = {**MOCK, "allowed_models": ["echo"]}
    spent = {"on_limit": "reject"}
    keys = [
        key("alice"),
        key("bob"),
        key("off", is_active=False),
        key("old", expires_at="2020-01-01T00:00:00Z"),
        key("narrow", provider_configs=[only]),
        key("poor", budget=daily("poor", 0.0)),
        key("team", team_id="team-1"),
        key("slow", rate_limit=per_hour("slow", request=2), **spent),
        key("terse", rate_limit=per_hour("terse", token=1), **spent),
        key("both", rate_limit=per_hour("both", token=1, request=1), **spent),
        key("queue", max_pending_jobs=1, max_parallel_jobs=1),
        key(
            "bare",
            provider_configs=[
                {**MOCK, "provider": "openai", "weight": 1},
                {**MOCK, "provider": "mock", "weight": 0},
            ],
        ),
    ]
    issuer = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": ["HS256"],
        "secret": "env.JWT_SECRET",
        "claims": {"virtual_key": ["vk_id"], "role": ["role"]},
        "admin": {"role": ["admin"]},
    }
    return {
        "providers": {"openai": dict(openai)},
        "governance": {
            "virtual_keys": keys,
            "teams": [{"id": "team-1", "name": "one", "budget": daily("team", 0.0)}],
        },
        "hermod": {
            "upkeep_s": 0.1,
            "auth": {"jwt": {"issuers": [issuer]}},
            "prices": {"mock/*": {"request_usd": 0.001}},
        },
    }


def at(upstream: MockUpstream) -> dict[str, Any]:
    """A provider whose upstream this is, quick to try again."""
    return upstream.provider(network_config=QUICK)


class Guarded(NamedTuple):
    """A gateway with virtual keys, open or not, on one of the stores."""

    gateway: Gateway
    http: httpx.Client


@pytest.fixture(scope="module", params=PLACES, ids=lambda kind: kind.__name__)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    kind: type[Place] = request.param
    folder = tmp_path_factory.mktemp("place")
    with kind.new(folder, lambda: request.getfixturevalue("cluster")) as found:
        yield found


def started(place: Place, name: str, config: dict[str, Any], **environ: str) -> Gateway:
    return place.start(name, config, environ={"JWT_SECRET": SHARED, **environ})


@pytest.fixture(scope="module")
def locked(place: Place, mock_upstream: MockUpstream) -> Iterator[Guarded]:
    """A gateway where everybody needs a credential."""
    config = configuration(at(mock_upstream))
    config["client"] = {"enforce_auth_on_inference": True}
    with (
        started(place, "locked", config, HERMOD_ADMIN_TOKEN=ADMIN) as gateway,
        client(gateway) as http,
    ):
        yield Guarded(gateway, http)
        assert "Traceback" not in gateway.output


@pytest.fixture(scope="module")
def open_one(place: Place, mock_upstream: MockUpstream) -> Iterator[Guarded]:
    """The same where nobody does."""
    with (
        started(place, "open", configuration(at(mock_upstream))) as gateway,
        client(gateway) as http,
    ):
        yield Guarded(gateway, http)
        assert "Traceback" not in gateway.output


def shown(header: str, credential: str) -> dict[str, str]:
    """The credential in one of the headers."""
    return {header: f"Bearer {credential}" if header == "authorization" else credential}


def vk(name: str) -> dict[str, str]:
    return shown("x-bf-vk", secret(name))


def ended(http: httpx.Client, job_id: str, headers: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def has_ended() -> bool:
        response = http.get(f"{ASYNC}/{job_id}", headers=headers)
        assert response.status_code in (200, 202), response.text
        found.update(response.json())
        return response.status_code == 200

    wait_until(has_ended)
    return found


def submitted(http: httpx.Client, headers: Mapping[str, str], **more: Any) -> str:
    response = http.post(ASYNC, json=chat(**more), headers=headers)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def refused(response: httpx.Response, status: int, type_: str, message: str) -> None:
    assert response.status_code == status, response.text
    body = response.json()
    assert body["is_bifrost_error"] is False
    assert body["status_code"] == status
    assert (body["type"], body["error"]["message"]) == (type_, message)


# Which credential


@pytest.mark.parametrize("header", HEADERS)
def test_a_job_of_a_key_is_read_with_it_in_any_header(locked: Guarded, header: str) -> None:
    job_id = submitted(locked.http, shown(header, secret("alice")))
    for other in HEADERS:
        ended(locked.http, job_id, shown(other, secret("alice")))


def test_nobody_else_can_tell_a_job_from_none(locked: Guarded) -> None:
    job_id = submitted(locked.http, vk("alice"))
    made_up = "019f0000-0000-7000-8000-000000000000"
    answers = {
        locked.http.get(f"{ASYNC}/{asked}", headers=headers).content
        for asked in (job_id, made_up)
        for headers in (vk("bob"), vk("nobody-has-this"))
    }
    assert len(answers) == 1
    assert locked.http.get(f"{ASYNC}/{job_id}", headers=vk("bob")).status_code == 404
    assert locked.http.get(f"{ASYNC}/{job_id}").status_code == 401


def test_an_admin_reads_every_job(locked: Guarded) -> None:
    job_id = submitted(locked.http, vk("alice"))
    ended(locked.http, job_id, shown("authorization", ADMIN))


def test_an_admin_may_act_as_a_key(locked: Guarded) -> None:
    both = {**shown("authorization", ADMIN), **vk("alice")}
    job_id = submitted(locked.http, both)
    ended(locked.http, job_id, vk("alice"))


def test_a_token_of_a_key_is_that_key(locked: Guarded) -> None:
    token = signed(claims(int(time.time()), vk_id="vk-alice"), shared(), "HS256")
    for header in HEADERS:
        job_id = submitted(locked.http, shown(header, token))
        ended(locked.http, job_id, vk("alice"))


def test_a_token_of_an_admin_reads_every_job(locked: Guarded) -> None:
    token = signed(claims(int(time.time()), vk_id=None, role="admin"), shared(), "HS256")
    job_id = submitted(locked.http, vk("alice"))
    ended(locked.http, job_id, shown("authorization", token))


@pytest.mark.parametrize("path", [ASYNC, SYNC, "/v1/embeddings", "/openai/v1/chat/completions"])
@pytest.mark.parametrize("how", ["tampered", "expired"])
def test_a_token_that_is_not_good_is_refused(locked: Guarded, how: str, path: str) -> None:
    now = int(time.time())
    good = signed(claims(now, vk_id="vk-alice"), shared(), "HS256")
    old = signed(claims(now, vk_id="vk-alice", iat=now - 900, exp=now - 600), shared(), "HS256")
    token = tampered(good, 2) if how == "tampered" else old
    response = locked.http.post(path, json=chat(), headers=shown("authorization", token))
    assert response.status_code == 401, response.text
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert token not in response.text


def test_a_poll_with_a_token_that_is_over_is_refused(locked: Guarded) -> None:
    now = int(time.time())
    job_id = submitted(locked.http, vk("alice"))
    old = signed(claims(now, vk_id="vk-alice", iat=now - 900, exp=now - 600), shared(), "HS256")
    response = locked.http.get(f"{ASYNC}/{job_id}", headers=shown("authorization", old))
    assert response.status_code == 401


def test_two_credentials_of_two_callers_are_refused(locked: Guarded) -> None:
    both = {**shown("authorization", secret("alice")), **vk("bob")}
    assert locked.http.post(ASYNC, json=chat(), headers=both).status_code == 400


def test_without_a_credential_nothing_is_accepted(locked: Guarded) -> None:
    for headers in ({}, shown("authorization", "sk-dummy"), shown("x-api-key", "anything")):
        for path in (ASYNC, SYNC):
            message = "virtual key is required. Provide a virtual key via the x-bf-vk header."
            response = locked.http.post(path, json=chat(), headers=headers)
            refused(response, 401, "virtual_key_required", message)


@pytest.mark.parametrize("path", [ASYNC, SYNC])
@pytest.mark.parametrize(
    ("name", "type_", "message"),
    [
        ("nobody-has-this", "virtual_key_not_found", "Virtual key not found"),
        ("off", "virtual_key_blocked", "Virtual key is inactive"),
        ("old", "virtual_key_blocked", "Virtual key has expired"),
    ],
)
def test_a_key_that_is_not_in_force_is_refused(
    locked: Guarded, open_one: Guarded, path: str, name: str, type_: str, message: str
) -> None:
    for guarded in (locked, open_one):
        response = guarded.http.post(path, json=chat(), headers=vk(name))
        refused(response, 403, type_, message)


def test_a_key_that_was_switched_off_may_still_fetch(open_one: Guarded) -> None:
    path = f"{ASYNC}/019f0000-0000-7000-8000-000000000000"
    assert open_one.http.get(path, headers=vk("off")).status_code == 404


# Where access is open


def test_jobs_of_nobody_are_everybodys_where_access_is_open(open_one: Guarded) -> None:
    job_id = submitted(open_one.http, {})
    for headers in ({}, vk("alice"), vk("nobody-has-this"), shown("authorization", "sk-dummy")):
        ended(open_one.http, job_id, headers)


def test_jobs_of_keys_are_theirs_also_where_access_is_open(open_one: Guarded) -> None:
    job_id = submitted(open_one.http, vk("alice"))
    ended(open_one.http, job_id, vk("alice"))
    for headers in ({}, vk("bob"), shown("authorization", "sk-dummy")):
        assert open_one.http.get(f"{ASYNC}/{job_id}", headers=headers).status_code == 404


def test_a_key_keeps_its_jobs_behind_every_door(open_one: Guarded) -> None:
    mine = {**vk("alice"), "x-bf-async": "true"}
    body = chat(model="mock/echo")
    job = open_one.http.post("/openai/v1/chat/completions", json=body, headers=mine)
    poll = {**vk("alice"), "x-bf-async-id": job.headers["x-bf-async-id"]}
    url = "/openai/v1/chat/completions"
    wait_until(lambda: bool(open_one.http.post(url, headers=poll).json()["choices"]))
    for other in (vk("bob"), {}):
        asked = {**other, "x-bf-async-id": job.headers["x-bf-async-id"]}
        assert open_one.http.post(url, headers=asked).status_code == 404


def test_a_background_response_is_its_keys(open_one: Guarded) -> None:
    body = {"model": "mock/echo", "input": "hi", "background": True}
    made = open_one.http.post("/v1/responses", json=body, headers=vk("alice")).json()
    url = f"/v1/responses/{made['id']}"
    assert open_one.http.get(url, headers=vk("alice")).status_code == 200
    for method, path in (("GET", url), ("POST", f"{url}/cancel")):
        answer = open_one.http.request(method, path, headers=vk("bob"))
        assert answer.status_code == 404, answer.text


# What is decided when a job runs: 202, then a job that failed; at once where a caller waits


@pytest.mark.parametrize(
    ("name", "model", "status", "type_", "message"),
    [
        (
            "alice", "openai/gpt-4o", 403, "provider_blocked",
            "Provider 'openai' is not allowed for this virtual key",
        ),
        (
            "narrow", "mock/hello", 403, "model_blocked",
            "Model 'hello' is not allowed for this virtual key",
        ),
        (
            "poor", "mock/hello", 402, "budget_exceeded",
            "Budget exceeded: VK budget exceeded: 0.0000 >= 0.0000 dollars",
        ),
        (
            "team", "mock/hello", 402, "budget_exceeded",
            "Budget exceeded: Team budget exceeded: 0.0000 >= 0.0000 dollars",
        ),
    ],
)  # fmt: skip
def test_what_a_key_may_not_do_fails_its_jobs_and_calls(
    open_one: Guarded, name: str, model: str, status: int, type_: str, message: str
) -> None:
    job = ended(open_one.http, submitted(open_one.http, vk(name), model=model), vk(name))
    assert (job["status"], job["status_code"]) == ("failed", status)
    assert (job["error"]["type"], job["error"]["error"]["message"]) == (type_, message)
    provider, _, rest = model.partition("/")
    extra = {"provider": provider, "model_requested": rest, "request_type": "chat_completion"}
    assert job["error"]["extra_fields"] == extra
    called = open_one.http.post(SYNC, json=chat(model=model), headers=vk(name))
    refused(called, status, type_, message)


@pytest.mark.parametrize(
    ("name", "uses", "type_", "words"),
    [
        ("slow", 2, "request_limited", "request limit exceeded (2/2, resets every 1h)"),
        ("terse", 1, "token_limited", "token limit exceeded ("),
        ("both", 1, "rate_limited", "; "),
    ],
)
def test_a_call_over_a_limit_is_told_when_to_come_back(
    open_one: Guarded, name: str, uses: int, type_: str, words: str
) -> None:
    for _ in range(uses):
        assert open_one.http.post(SYNC, json=chat(), headers=vk(name)).status_code == 200
    response = open_one.http.post(SYNC, json=chat(), headers=vk(name))
    assert response.status_code == 429, response.text
    body = response.json()
    message = body["error"]["message"]
    assert body["type"] == type_
    assert message.startswith("Rate limit check failed: rate limit violated for VK: ")
    assert words in message
    assert 3000 < int(response.headers["retry-after"]) <= 3600
    job = ended(open_one.http, submitted(open_one.http, vk(name)), vk(name))
    assert (job["status_code"], job["error"]["type"]) == (429, type_)


def test_a_key_has_no_more_pending_jobs_than_it_may(open_one: Guarded) -> None:
    submitted(open_one.http, vk("queue"), model="mock/slow?seconds=2")
    accepted: list[str] = []

    def has_room() -> bool:
        """As soon as the first one's call was admitted, a moment after its job was claimed."""
        response = open_one.http.post(ASYNC, json=chat(), headers=vk("queue"))
        if response.status_code == 202:
            accepted.append(response.json()["id"])
        return bool(accepted)

    wait_until(has_room)
    (waiting,) = accepted
    response = open_one.http.post(ASYNC, json=chat(), headers=vk("queue"))
    assert response.status_code == 429, response.text
    assert response.json()["type"] == "queue_full"
    assert response.headers["retry-after"] == "1"
    assert ended(open_one.http, waiting, vk("queue"))["status"] == "completed"
    ended(open_one.http, submitted(open_one.http, vk("queue")), vk("queue"))


# Models without a prefix


def test_a_key_may_leave_the_provider_to_the_gateway(open_one: Guarded) -> None:
    job = ended(open_one.http, submitted(open_one.http, vk("bare"), model="echo"), vk("bare"))
    assert job["result"]["extra_fields"]["provider"] in {"openai", "mock"}
    refusal = open_one.http.post(ASYNC, json=chat(model="echo"))
    assert refusal.status_code == 400
    assert refusal.json()["error"]["message"] == "model should be in provider/model format"


def test_the_other_providers_of_a_key_are_its_fallbacks(open_one: Guarded) -> None:
    model = "error?code=503"  # at the mock upstream and here
    called = open_one.http.post(SYNC, json=chat(model=model), headers=vk("bare"))
    assert called.status_code == 503
    assert called.json()["extra_fields"]["provider"] == "openai"


def test_a_key_sees_the_models_that_it_may_use(open_one: Guarded) -> None:
    everything = open_one.http.get("/v1/models").json()["data"]
    narrow = open_one.http.get("/v1/models", headers=vk("narrow")).json()["data"]
    assert [each["id"] for each in narrow] == ["mock/echo"]
    assert len(everything) > 1


# Admins


def test_the_management_api_is_for_admins(locked: Guarded) -> None:
    url = "/api/governance/virtual-keys"
    assert locked.http.get(url).status_code == 401
    assert locked.http.get(url, headers=vk("alice")).status_code == 403
    assert locked.http.get(url, headers=shown("authorization", ADMIN)).status_code == 200
    now = int(time.time())
    admin = signed(claims(now, vk_id=None, role="admin"), shared(), "HS256")
    assert locked.http.get(url, headers=shown("authorization", admin)).status_code == 200
    mere = signed(claims(now, vk_id="vk-alice", role="user"), shared(), "HS256")
    assert locked.http.get(url, headers=shown("authorization", mere)).status_code == 403


def test_no_answer_of_the_management_api_shows_a_keys_value(locked: Guarded) -> None:
    url = "/api/governance/virtual-keys"
    text = locked.http.get(url, headers=shown("authorization", ADMIN)).text
    assert "alice" in text
    assert secret("alice") not in text
    assert base64.b64encode(secret("alice").encode()).decode() not in text
