"""Keys of providers that callers bring (`client.allow_direct_keys`, wire-contract 2.2), and what of
a request nobody may read in the store.

Over HTTP, against the installed program, on both stores.
"""

import base64
import itertools
import json
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import anthropic
import pytest
from google import genai
from google.genai import types

from tests.acceptance.conftest import Served
from tests.faults.places import PLACES, Place, SqlitePlace, state_of
from tests.sdks.clients import PLAIN, anthropic_client, both, got, openai_client
from tests.support.program import Gateway, chat, client, submit, wait_done
from tests.support.upstream import Call, Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import CHATTING, Kind, Wire, completed, each_kind, failed

KEY: Final = "sk-canary-0123456789-ABCDEFGHIJ-abcdefghij-zyx"
BEARER: Final = {"authorization": f"Bearer {KEY}"}
OURS: Final = "Bearer sk-configured-secret"
REFUSED: Final = Reply(401, b'{"error":{"message":"no such key"}}')
ENCRYPTION_KEY: Final = "canary-encryption-key-of-the-operator"
NUMBERS: Final = itertools.count()


class AnyUpstream(Upstream):
    """Also takes forms."""

    def answer(self, call: Call) -> Reply:
        """See `Upstream`."""
        field = re.search(rb'name="model"\r\n\r\n([^\r]+)', call.body)
        if field is not None:
            call = call._replace(body=json.dumps({"model": field[1].decode()}).encode())
        return super().answer(call)


@pytest.fixture(scope="module")
def upstream() -> Iterator[AnyUpstream]:
    """Where all calls go."""
    with AnyUpstream() as running:
        yield running


def provider(upstream: Upstream, *models: str) -> dict[str, Any]:
    """A provider of the operator's own, whose key may be used for these models only."""
    paths = {"rerank": "/v1/rerank", "ocr": "/v1/ocr"}
    key = {"name": "main", "value": "sk-configured-secret", "weight": 1}
    return {
        "keys": [key | ({"models": list(models)} if models else {})],
        "network_config": {"base_url": upstream.url, "max_retries": 0},
        "custom_provider_config": {
            "base_provider_type": "openai",
            "request_path_overrides": paths,
        },
    }


def config(upstream: Upstream, *, allowed: bool = True, **ours: Any) -> dict[str, Any]:
    """Two providers, one of them narrow."""
    return {
        "client": {"allow_direct_keys": allowed},
        "providers": {
            "here": provider(upstream),
            "there": provider(upstream),
            "narrow": provider(upstream, "the-only-model"),
        },
        "hermod": {"upkeep_s": 0.1, **ours},
    }


def environ(place: Place, key: str = ENCRYPTION_KEY) -> dict[str, str]:
    """Nothing on SQLite, whose gateways make a key for themselves."""
    return {} if isinstance(place, SqlitePlace) else {"HERMOD_ENCRYPTION_KEY": key}


@pytest.fixture(scope="module", params=PLACES, ids=lambda kind: kind.__name__)
def served(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    upstream: AnyUpstream,
) -> Iterator[Served]:
    """A gateway that takes callers' keys, once on each store; it never tells one."""
    kind: type[Place] = request.param
    folder = tmp_path_factory.mktemp("direct")
    with (
        kind.new(folder, lambda: request.getfixturevalue("cluster")) as place,
        place.start(
            "gateway",
            config(upstream),
            environ=environ(place) | {"HERMOD_LOG_LEVEL": "debug"},
        ) as gateway,
        client(gateway) as http,
    ):
        yield Served(place, gateway, Wire(http))
        assert gateway.process.poll() is None, gateway.output
        assert "Traceback" not in gateway.output
        assert not found_in(gateway.output.encode())


def forms(secret: str) -> Iterator[bytes]:
    """A secret and each of its halves, as it might be written down."""
    raw = secret.encode()
    for part in (raw, raw[: len(raw) // 2], raw[len(raw) // 2 :]):
        yield part
        yield part.hex().encode()
        yield part.hex().upper().encode()
        for shift in range(3):
            # What its middle looks like wherever it begins in a longer text.
            text = base64.b64encode(b"\0" * shift + part).rstrip(b"=")
            yield text[4 if shift else 0 : -2]


def found_in(data: bytes, *secrets: str) -> list[bytes]:
    """Every form in which a secret stands there."""
    return [form for secret in secrets or (KEY,) for form in forms(secret) if form in data]


def test_a_secret_is_found_however_it_is_written_down() -> None:
    half = KEY[: len(KEY) // 2].encode()
    for shift in range(4):
        text = b"x" * shift + half + b"rest"
        for written in (text, text.hex().encode(), base64.b64encode(text)):
            assert found_in(b"some " + written), shift


def kept(place: Place, cluster: Callable[[], Any]) -> Iterator[tuple[str, bytes]]:
    """Every file in which a store keeps anything, by name."""
    folder = place.app_dir if isinstance(place, SqlitePlace) else cluster().data
    for path in Path(folder).rglob("*"):
        if path.is_file() and not path.is_symlink():
            try:
                yield path.name, path.read_bytes()
            except FileNotFoundError:
                continue


def name_of(model: str) -> str:
    """A model that no other test has called."""
    return f"{model}-{next(NUMBERS)}"


def shown(upstream: Upstream, model: str) -> str:
    """How the only call for a model proved itself."""
    headers = upstream.the_call(model).headers
    assert not headers.keys() & {"x-api-key", "x-goog-api-key", "api-key", "x-bf-direct-key"}
    return headers["authorization"]


def called_with(
    served: Served, upstream: Upstream, headers: Mapping[str, str], provider: str = "here"
) -> str:
    """How the upstream call of a completed job with these headers proved itself."""
    model = name_of("job")
    completed(served.wire.run(CHATTING, f"{provider}/{model}", headers=headers))
    return shown(upstream, model)


# Which key goes upstream


@each_kind
def test_a_job_is_called_with_its_callers_key(
    served: Served, upstream: Upstream, kind: Kind
) -> None:
    model = name_of(kind.request_type)
    upstream.plan(model, REFUSED)
    job = served.wire.run(kind, f"here/{model}", headers=BEARER)
    failed(job, 401)  # and tried with no other key
    assert shown(upstream, model) == f"Bearer {KEY}"
    named = "job_id" if not isinstance(served.place, SqlitePlace) else "id"
    join = "" if named == "job_id" else "JOIN job USING (seq)"
    sql = f"SELECT key_name FROM attempt {join} WHERE {named} = ?"
    assert served.place.rows(sql, served.place.key(job["id"])) == [("header-provided",)]


@each_kind
def test_a_call_that_is_waited_for_is_made_with_its_callers_key(
    served: Served, upstream: Upstream, kind: Kind
) -> None:
    model = name_of(kind.request_type)
    upstream.plan(model, REFUSED)
    response = served.http.post(f"/v1/{kind.path}", headers=BEARER, **kind.request(f"here/{model}"))
    assert response.status_code == 401, response.text
    assert shown(upstream, model) == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "header",
    [
        ("authorization", f"Bearer {KEY}"),
        ("authorization", KEY),
        ("x-api-key", KEY),
        ("x-goog-api-key", KEY),
        ("api-key", KEY),
    ],
    ids=["bearer", "raw", "x-api-key", "x-goog-api-key", "api-key"],
)
def test_the_key_may_come_in_any_header_for_keys(
    served: Served, upstream: Upstream, header: tuple[str, str]
) -> None:
    assert called_with(served, upstream, dict([header])) == f"Bearer {KEY}"


def test_of_several_keys_the_first_in_the_contracts_order_counts(
    served: Served, upstream: Upstream
) -> None:
    order = ("authorization", "x-api-key", "x-goog-api-key", "api-key")
    for first, second in itertools.pairwise(order):
        headers = {second: "sk-the-second", first: "sk-the-first"}
        assert called_with(served, upstream, headers) == "Bearer sk-the-first"


@pytest.mark.parametrize(
    ("header", "expected"), [("true", f"Bearer {KEY}"), ("?", f"Bearer {KEY}"), ("false", OURS)]
)
def test_a_caller_may_say_whether_its_key_is_meant(
    served: Served, upstream: Upstream, header: str, expected: str
) -> None:
    headers = {**BEARER, "x-bf-direct-key": header}
    assert called_with(served, upstream, headers) == expected


def test_without_a_key_of_the_callers_the_configured_one_is_used(
    served: Served, upstream: Upstream
) -> None:
    assert called_with(served, upstream, {}) == OURS
    assert called_with(served, upstream, {"authorization": "Basic eDp5"}) == OURS


@pytest.mark.parametrize(
    "header", [("authorization", "Bearer sk-bf-1"), ("x-api-key", "sk-bf-1"), ("x-bf-vk", "any")]
)
def test_a_virtual_key_is_no_key_of_a_provider(served: Served, header: tuple[str, str]) -> None:
    headers = {"x-goog-api-key": KEY, "x-bf-direct-key": "true", **dict([header])}
    assert served.wire.post(CHATTING, "here/any", headers=headers).status_code == 403


def test_the_lists_of_configured_keys_say_nothing_about_callers_keys(
    served: Served, upstream: Upstream
) -> None:
    assert called_with(served, upstream, BEARER, "narrow") == f"Bearer {KEY}"
    model = name_of("job")
    failed(served.wire.run(CHATTING, f"narrow/{model}"), 500)
    assert not upstream.calls(model)


def test_a_fallback_is_called_with_the_key_of_its_own_provider(
    served: Served, upstream: Upstream
) -> None:
    first, second, third = name_of("first"), name_of("second"), name_of("third")
    for model in (first, second):
        upstream.plan(model, REFUSED)
    fallbacks = [f"there/{second}", f"here/{third}"]
    completed(served.wire.run(CHATTING, f"here/{first}", headers=BEARER, fallbacks=fallbacks))
    assert shown(upstream, first) == shown(upstream, third) == f"Bearer {KEY}"
    assert shown(upstream, second) == OURS


def test_a_provider_that_does_not_exist_here_is_called_with_no_key(served: Served) -> None:
    error = failed(served.wire.run(CHATTING, "runway/any", headers=BEARER), 500)
    assert "failed to get config" in error["error"]["message"]


def test_a_key_that_an_upstream_repeats_is_masked(served: Served, upstream: Upstream) -> None:
    model = name_of("repeats")
    said = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    upstream.plan(model, Reply(400, json.dumps(said).encode()))
    headers = {**BEARER, "x-bf-send-back-raw-response": "true"}
    job = served.wire.run(CHATTING, f"here/{model}", headers=headers)
    assert "Incorrect API key provided: ***" in json.dumps(failed(job, 400))
    assert not found_in(json.dumps(job).encode())
    called = served.http.post(
        "/v1/chat/completions", headers=headers, json=chat(model=f"here/{model}", stream=True)
    )
    assert "Incorrect API key provided: ***" in called.text
    assert not found_in(called.content)


# SDKs


@both
async def test_openais_sdk_brings_its_key(served: Served, upstream: Upstream, flavour: str) -> None:
    model = name_of("openai")
    asked: list[Any] = [{"role": "user", "content": "hi"}]
    async with openai_client(
        flavour, f"{served.gateway.url}/openai/v1", api_key=KEY, _strict_response_validation=False
    ) as sdk:
        answer = await got(sdk.chat.completions.create(model=f"here/{model}", messages=asked))
    assert answer.choices[0].message.content == "ok"
    assert shown(upstream, model) == f"Bearer {KEY}"


async def test_a_background_response_is_made_with_its_callers_key(
    served: Served, upstream: Upstream
) -> None:
    model = name_of("background")
    upstream.plan(model, REFUSED)
    async with openai_client(
        "sync", f"{served.gateway.url}/v1", api_key=KEY, _strict_response_validation=False
    ) as sdk:
        made = sdk.responses.create(model=f"here/{model}", input="hi", background=True)
        wait_until(lambda: sdk.responses.retrieve(made.id).status == "failed")
    assert shown(upstream, model) == f"Bearer {KEY}"


@both
async def test_anthropics_sdk_brings_its_key(
    served: Served, upstream: Upstream, flavour: str
) -> None:
    model = name_of("anthropic")
    upstream.plan(model, REFUSED)
    asked: list[Any] = [{"role": "user", "content": "hi"}]
    url = f"{served.gateway.url}/anthropic"
    async with anthropic_client(flavour, url, api_key=KEY, max_retries=0) as sdk:
        with pytest.raises(anthropic.AuthenticationError) as caught:
            await got(sdk.messages.create(model=f"here/{model}", max_tokens=9, messages=asked))
    assert shown(upstream, model) == f"Bearer {KEY}"
    assert not found_in(str(caught.value.body).encode())


def test_googles_sdk_brings_its_key(served: Served, upstream: Upstream) -> None:
    model = name_of("genai")
    upstream.plan(model, REFUSED)
    options = types.HttpOptions(base_url=f"{served.gateway.url}/genai", client_args=PLAIN)
    sdk = genai.Client(api_key=KEY, http_options=options)
    with pytest.raises(genai.errors.ClientError) as caught:
        sdk.models.generate_content(model=f"here/{model}", contents="hi")
    assert caught.value.code == 401
    assert shown(upstream, model) == f"Bearer {KEY}"
    sdk.close()


# Where they are not allowed


def test_elsewhere_keys_of_callers_are_ignored(tmp_path: Path, upstream: Upstream) -> None:
    written = config(upstream, allowed=False)
    with Gateway(tmp_path / "data", config=written) as gateway, client(gateway) as http:
        for header in ("authorization", "x-api-key", "x-goog-api-key", "api-key"):
            model = name_of("ignored")
            headers = {header: KEY, "x-bf-direct-key": "true"}
            job = Wire(http).run(CHATTING, f"here/{model}", headers=headers)
            completed(job)
            assert shown(upstream, model) == OURS
        assert not (gateway.app_dir / "encryption.key").exists()


# In the store


def test_a_callers_key_outlives_a_kill_and_nobody_can_read_it_meanwhile(
    place: Place, upstream: Upstream, start_cluster: Callable[[], Any]
) -> None:
    model, canary = name_of("killed"), "canary-header-0123456789-ABCDEFGH"
    settings = environ(place)
    headers = {**BEARER, "x-bf-eh-x-custom": canary}
    with place.start("api", config(upstream, role="api"), environ=settings) as front:
        with client(front) as http:
            job_id = Wire(http).submit(CHATTING, f"here/{model}", headers=headers)["id"]
            told = http.get(f"/v1/async/chat/completions/{job_id}").content
        assert state_of(place, job_id) == "queued"
        front.kill()
    assert not upstream.calls(model)
    for name, data in [
        ("answer", told),
        ("log", front.output.encode()),
        *kept(place, start_cluster),
    ]:
        assert not found_in(data, KEY, canary, ENCRYPTION_KEY), name
    with place.start("api", config(upstream), environ=settings) as again, client(again) as http:
        assert wait_done(http, job_id)["status"] == "completed"
        assert not found_in(again.output.encode(), KEY, canary, ENCRYPTION_KEY)
    call = upstream.the_call(model)
    assert (call.headers["authorization"], call.headers["x-custom"]) == (f"Bearer {KEY}", canary)
    for name, data in kept(place, start_cluster):
        assert not found_in(data, KEY, canary, ENCRYPTION_KEY), name


def test_a_call_that_is_waited_for_leaves_no_key_behind(
    served: Served, upstream: Upstream, request: pytest.FixtureRequest
) -> None:
    model = name_of("waited")
    response = served.http.post(
        "/v1/chat/completions", headers=BEARER, json=chat(model=f"here/{model}")
    )
    assert response.status_code == 200
    for name, data in kept(served.place, lambda: request.getfixturevalue("cluster")):
        assert not found_in(data), name


def test_with_another_encryption_key_the_job_fails_and_nothing_is_sent(
    place: Place, upstream: Upstream
) -> None:
    model = name_of("changed")
    with place.start("api", config(upstream, role="api"), environ=environ(place)) as front:
        with client(front) as http:
            job_id = Wire(http).submit(
                CHATTING, f"here/{model}", headers=BEARER, fallbacks=[f"there/{model}"]
            )["id"]
        front.kill()
    if isinstance(place, SqlitePlace):
        (place.app_dir / "encryption.key").write_text("ab" * 32, "ascii")
    other = environ(place, "another one")
    with place.start("api", config(upstream), environ=other) as again, client(again) as http:
        error = failed(wait_done(http, job_id), 500)
    assert "the gateway's encryption key is not what it was" in error["error"]["message"]
    assert not upstream.calls(model)
    assert place.attempts_of(job_id) == [(1, "failed", "secrets_unreadable")]


def test_headers_that_an_older_release_stored_in_plain_are_sent(
    place: Place, upstream: Upstream
) -> None:
    model = name_of("plain")
    with place.start("api", config(upstream, role="api")) as front, client(front) as http:
        job_id = submit(http, chat(model=f"here/{model}"))
        front.kill()
    plain = '{"forward":[["x-custom","one"],["x-custom","two"]]}'
    place.change("UPDATE job SET options = ?", plain)
    with place.start("api", config(upstream)) as again, client(again) as http:
        completed(wait_done(http, job_id))
    assert upstream.the_call(model).headers["x-custom"] in ("one", "two", "one, two")


def test_on_sqlite_a_key_is_made_when_it_is_needed(tmp_path: Path, upstream: Upstream) -> None:
    path = tmp_path / "data" / "encryption.key"
    with Gateway(tmp_path / "data", config=config(upstream)) as gateway, client(gateway) as http:
        wire = Wire(http)
        completed(wire.run(CHATTING, f"here/{name_of('none')}"))
        assert not path.exists()
        completed(wire.run(CHATTING, f"here/{name_of('any')}", headers={"x-bf-eh-x-a": "b"}))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_on_postgresql_a_secret_without_a_key_is_refused(
    tmp_path: Path, upstream: Upstream, start_cluster: Callable[[], Any]
) -> None:
    postgres = next(kind for kind in PLACES if kind is not SqlitePlace)
    with (
        postgres.new(tmp_path, start_cluster) as place,
        place.start("gateway", config(upstream)) as gateway,
        client(gateway) as http,
    ):
        wire = Wire(http)
        assert "client.allow_direct_keys: jobs with a key of their caller's" in gateway.output
        for headers in (BEARER, {"x-bf-eh-x-portal-token": "t"}):
            response = wire.post(CHATTING, "here/any", headers=headers)
            assert response.status_code == 400
            assert "HERMOD_ENCRYPTION_KEY" in response.json()["error"]["message"]
        assert place.rows("SELECT count(*) FROM job") == [(0,)]
        # What is no secret goes on as before, and what is not stored needs no key.
        model = name_of("harmless")
        completed(wire.run(CHATTING, f"here/{model}", headers={"x-bf-eh-x-title": "t"}))
        assert upstream.the_call(model).headers["x-title"] == "t"
        model = name_of("waited")
        response = http.post(
            "/v1/chat/completions", headers=BEARER, json=chat(model=f"here/{model}")
        )
        assert response.status_code == 200, response.text
        assert shown(upstream, model) == f"Bearer {KEY}"
