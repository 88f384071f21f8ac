"""Several keys, several providers: who is asked when one fails (wire-contract 8.4, 8.5).

Point 12 of its section 12.

Over HTTP, against the installed program; upstreams that are told what to answer.
"""

import itertools
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.faults.places import PLACES, Place, SqlitePlace
from tests.support.program import chat, client, submit, wait_done
from tests.support.upstream import Reply, Upstream

JOBS = 1000
"""On SQLite; fewer where the same rules run a second time."""
RETRIES = 2
NUMBERS = itertools.count()


def error(message: str, status: int = 500, **headers: str) -> Reply:
    """An error in the upstream's words."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"error": {"message": message, "type": "a_type"}}
    return Reply(status, json.dumps(body).encode(), headers=named)


def provider(upstream: Upstream, *keys: str, **network: Any) -> dict[str, Any]:
    """A provider of the operator's own, quick to try again."""
    quick = {"retry_backoff_initial": 1, "retry_backoff_max": 5, "max_retries": RETRIES}
    return {
        "keys": [{"name": key, "value": f"sk-{key}", "weight": 1} for key in keys],
        "network_config": {"base_url": upstream.url, **quick, **network},
        "custom_provider_config": {"base_provider_type": "openai"},
    }


@pytest.fixture(scope="module")
def first() -> Iterator[Upstream]:
    """Where jobs are sent to."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def second() -> Iterator[Upstream]:
    """Where they may go instead."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module", params=PLACES, ids=lambda kind: kind.__name__)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Each store once."""
    kind: type[Place] = request.param
    folder = tmp_path_factory.mktemp("fallbacks")
    with kind.new(folder, lambda: request.getfixturevalue("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def http(place: Place, first: Upstream, second: Upstream) -> Iterator[httpx.Client]:
    """A client of a gateway with both, the first a second and a third time with several keys."""
    config = {
        "providers": {
            "first": provider(first, "one"),
            "second": provider(second, "two"),
            "keys": provider(first, "a", "b", "c"),
            "busy": provider(first, "d", "e"),
            "away": provider(first, "x", base_url="http://127.0.0.1:1"),
        }
    }
    with place.start("gateway", config) as gateway, client(gateway) as opened:
        yield opened
        assert "Traceback" not in gateway.output


@pytest.fixture
def model() -> str:
    """A model that no other test uses."""
    return f"m{next(NUMBERS)}"


def done(http: httpx.Client, model: str, *fallbacks: str, **more: Any) -> dict[str, Any]:
    """The job once it has ended."""
    body = chat(model=model, **({"fallbacks": list(fallbacks)} if fallbacks else {}), **more)
    return wait_done(http, submit(http, body))


def tried(place: Place, model: str) -> list[tuple[str, str, str, str]]:
    """Provider, model, key and state of every attempt with models of that beginning, in order."""
    found = place.rows("SELECT n, lane, model, key_name, state FROM attempt")
    return [tuple(each) for _, *each in sorted(found) if each[1].startswith(model)]


def keys_used(upstream: Upstream, model: str) -> list[str]:
    """The keys that calls for a model came with."""
    shown = [call.headers["authorization"] for call in upstream.calls(model)]
    return [each.removeprefix("Bearer sk-") for each in shown]


def test_a_fallback_answers_when_the_primary_has_failed(
    http: httpx.Client, place: Place, first: Upstream, model: str
) -> None:
    first.plan(model, error("broken"))
    job = done(http, f"first/{model}", f"second/{model}-too")
    assert (job["status"], job["status_code"]) == ("completed", 200)
    extra = job["result"]["extra_fields"]
    assert (extra["provider"], extra["model_requested"]) == ("second", f"{model}-too")
    assert len(first.calls(model)) == RETRIES + 1
    assert tried(place, model) == [
        *[("first", model, "one", "failed")] * 3,
        ("second", f"{model}-too", "two", "succeeded"),
    ]


def test_when_all_fail_the_error_is_the_primarys(
    http: httpx.Client, first: Upstream, second: Upstream, model: str
) -> None:
    first.plan(model, error("the first is broken", 503))
    second.plan(model, error("the second is broken", 500))
    job = done(http, f"first/{model}", f"second/{model}")
    assert (job["status"], job["status_code"]) == ("failed", 503)
    assert job["error"]["error"]["message"] == "the first is broken"
    assert job["error"]["extra_fields"]["provider"] == "first"
    assert len(second.calls(model)) == RETRIES + 1


def test_an_error_of_the_request_falls_back_without_retries(
    http: httpx.Client, first: Upstream, model: str
) -> None:
    first.plan(model, error("no such model", 404))
    assert done(http, f"first/{model}", f"second/{model}")["status"] == "completed"
    assert len(first.calls(model)) == 1


def test_what_names_no_model_or_nobody_configured_is_passed_over(
    http: httpx.Client, first: Upstream, model: str
) -> None:
    first.plan(model, error("no", 400))
    job = done(http, f"first/{model}", "nonsense", "", "groq/llama", "nope/x", f"second/{model}")
    assert job["result"]["extra_fields"]["provider"] == "second"


def test_a_primary_out_of_reach_falls_back(http: httpx.Client, model: str) -> None:
    assert done(http, f"away/{model}", f"second/{model}")["status"] == "completed"


def test_the_mock_can_be_a_fallback(http: httpx.Client, first: Upstream, model: str) -> None:
    first.plan(model, error("no", 400))
    job = done(http, f"first/{model}", "mock/hello")
    assert job["result"]["extra_fields"]["provider"] == "mock"


def test_a_primary_that_asks_for_patience_makes_room_for_a_fallback_at_once(
    http: httpx.Client, first: Upstream, model: str
) -> None:
    first.plan(model, error("not now", 429, retry_after="60"))
    # A provider of its own: its keys pause for a minute.
    job = done(http, f"busy/{model}", f"second/{model}")
    assert job["result"]["extra_fields"]["provider"] == "second"
    assert len(first.calls(model)) == 2


def test_a_synchronous_call_falls_back_too(http: httpx.Client, first: Upstream, model: str) -> None:
    first.plan(model, error("broken"))
    body = chat(model=f"first/{model}", fallbacks=[f"second/{model}"])
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["extra_fields"]["provider"] == "second"


def test_a_synchronous_call_gets_the_primarys_error(
    http: httpx.Client, first: Upstream, second: Upstream, model: str
) -> None:
    first.plan(model, error("the first", 503))
    second.plan(model, error("the second", 500))
    body = chat(model=f"first/{model}", fallbacks=[f"second/{model}"])
    answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 503
    assert answer.json()["error"]["message"] == "the first"


def test_a_form_names_its_fallbacks_in_a_field(http: httpx.Client, model: str) -> None:
    form = {"model": f"away/{model}", "fallbacks": '["mock/echo"]'}
    files = {"file": ("a.wav", b"RIFF", "audio/wav")}
    answer = http.post("/v1/async/audio/transcriptions", data=form, files=files)
    assert answer.status_code == 202, answer.text
    job = wait_done(http, answer.json()["id"], "audio/transcriptions")
    assert job["result"]["extra_fields"]["provider"] == "mock"


# Keys


def test_a_refused_key_makes_room_for_another(
    http: httpx.Client, first: Upstream, model: str
) -> None:
    first.plan(model, error("who are you", 401), Reply())
    assert done(http, f"keys/{model}")["status"] == "completed"
    used = keys_used(first, model)
    assert len(used) == len(set(used)) == 2


def test_when_every_key_is_refused_the_job_says_so(
    http: httpx.Client, first: Upstream, model: str
) -> None:
    first.plan(model, error("who are you", 403))
    job = done(http, f"keys/{model}")
    assert job["status_code"] == 502
    assert job["error"]["error"]["code"] == "upstream_credentials_exhausted"
    assert sorted(keys_used(first, model)) == ["a", "b", "c"]


def test_the_refusal_of_the_only_key_is_passed_on(
    http: httpx.Client, first: Upstream, model: str
) -> None:
    first.plan(model, error("who are you", 401))
    job = done(http, f"first/{model}")
    assert (job["status_code"], job["error"]["error"]["message"]) == (401, "who are you")


def test_too_many_requests_turn_to_another_key(
    http: httpx.Client, first: Upstream, place: Place, model: str
) -> None:
    first.plan(model, error("slow down", 429, retry_after="1"), Reply())
    job = done(http, f"keys/{model}")
    assert job["status"] == "completed"
    used = keys_used(first, model)
    assert len(set(used)) == 2
    assert [state for _, state, _ in place.attempts_of(job["id"])] == [
        "failed",
        "succeeded",
    ]


def test_a_key_that_the_caller_insists_on_is_the_only_one(
    http: httpx.Client, first: Upstream, second: Upstream, model: str
) -> None:
    first.plan(model, error("who are you", 401))
    body = chat(model=f"keys/{model}", fallbacks=[f"second/{model}"])
    answer = http.post("/v1/async/chat/completions", json=body, headers={"x-bf-api-key": "b"})
    job = wait_done(http, answer.json()["id"])
    assert keys_used(first, model) == ["b"]
    # What it says of keys is about the first provider only.
    assert job["result"]["extra_fields"]["provider"] == "second"
    assert keys_used(second, model) == ["two"]


# All together


@pytest.mark.time_limit(240)
def test_the_outcome_of_a_thousand_jobs_is_what_the_rules_say(
    http: httpx.Client, place: Place, first: Upstream, second: Upstream
) -> None:
    """Primary fails 30 % of its calls, the fallback 10 %: each outcome equals a simulation's."""
    dice = random.Random(20)
    expected: dict[str, tuple[str, int, int]] = {}
    ids: dict[str, str] = {}
    jobs = JOBS if isinstance(place, SqlitePlace) else 200
    for number in range(jobs):
        model = f"sim-{jobs}-{number}"
        primary = [dice.random() < 0.3 for _ in range(RETRIES + 1)]
        fallback = [dice.random() < 0.1 for _ in range(RETRIES + 1)]
        first.plan(model, *[error(f"first {model} {n}") if bad else Reply()
                            for n, bad in enumerate(primary)])  # fmt: skip
        second.plan(model, *[error(f"second {n}") if bad else Reply()
                             for n, bad in enumerate(fallback)])  # fmt: skip
        expected[model] = simulated(model, primary, fallback)
        ids[model] = submit(http, chat(model=f"first/{model}", fallbacks=[f"second/{model}"]))
    for model, job_id in ids.items():
        job = wait_done(http, job_id, timeout_s=120)
        if job["status"] == "completed":
            said = job["result"]["extra_fields"]["provider"]
        else:
            said = job["error"]["error"]["message"]
        found = said, len(first.calls(model)), len(second.calls(model))
        assert found == expected[model], model
    answered = Counter(said for said, _, _ in expected.values())
    assert 0 < answered["second"] < answered["first"] < jobs


def simulated(model: str, primary: list[bool], fallback: list[bool]) -> tuple[str, int, int]:
    """Who answers, or the error; and how often each was called. `True` is a failure."""
    if not all(primary):
        return "first", primary.index(False) + 1, 0
    if not all(fallback):
        return "second", len(primary), fallback.index(False) + 1
    return f"first {model} {RETRIES}", len(primary), len(fallback)
