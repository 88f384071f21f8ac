"""Jobs through the doors of other APIs (wire-contract 12, point 17; 6)."""

import uuid
from typing import Any, NamedTuple

import httpx
import pytest

from tests.acceptance.conftest import Served
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import (
    BY_TYPE,
    CHATTING,
    KINDS,
    NO_SUCH_JOB,
    PROMPT,
    completed,
    each_kind,
    instant,
    refusal,
)

CREATE = {"x-bf-async": "true"}
NO_STREAM = "streaming is not supported for async requests"
NO_JOBS = "async operation is not supported on this route"
EMPTY_ID = "x-bf-async-id header value is empty"
RESPONSES = BY_TYPE["responses"]
MESSAGES = [{"role": "user", "content": PROMPT}]


class Door(NamedTuple):
    """A route that takes jobs."""

    path: str
    request_type: str
    body: dict[str, Any]

    def ask(self, model: str, **more: Any) -> dict[str, Any]:
        """A request for this model."""
        return {"model": model, **self.body, **more}

    @property
    def is_anthropic(self) -> bool:
        """Whether its errors have Anthropic's shape."""
        return self.path.endswith("/messages")

    def says(self, done: Any) -> str:
        """What a completed answer says."""
        if self.is_anthropic:
            (block,) = done["content"]
            return block["text"]
        if self.request_type == "responses":
            return done["output"][0]["content"][0]["text"]
        return done["choices"][0]["message"]["content"]

    def is_done(self, answer: Any) -> bool:
        """By the client's rule (6.2)."""
        if self.is_anthropic:
            return bool(answer["content"])
        if self.request_type == "responses":
            return answer["status"] == "completed"
        return bool(answer["choices"])

    def message(self, response: httpx.Response) -> str:
        """The message of an error in this door's shape."""
        whole = response.json()
        if not self.is_anthropic:
            assert whole["is_bifrost_error"] in (True, False)
            return whole["error"]["message"]
        assert whole.keys() == {"type", "error"}
        assert whole["type"] == "error"
        assert whole["error"].keys() == {"type", "message"}
        return whole["error"]["message"]


_RESPONSES = ("/openai/v1/responses", "/openai/responses", "/openai/openai/responses")
_CHATS = ("/openai/v1/chat/completions", "/openai/chat/completions")
_MESSAGES = ("/anthropic/v1/messages",)
_FRAMEWORKS = ("/litellm", "/langchain", "/pydanticai")


def _doors(prefix: str) -> list[Door]:
    anthropic = {"max_tokens": 64, "messages": MESSAGES}
    return [
        *(Door(prefix + path, "responses", {"input": PROMPT}) for path in _RESPONSES),
        *(Door(prefix + path, "chat_completion", {"messages": MESSAGES}) for path in _CHATS),
        *(Door(prefix + path, "responses", anthropic) for path in _MESSAGES),
    ]


DOORS = [door for prefix in ("", *_FRAMEWORKS) for door in _doors(prefix)]
PLAIN = [_doors("")[0], _doors("")[3], _doors("")[5]]
"""One of each shape."""

each_door = pytest.mark.parametrize("door", DOORS, ids=lambda door: door.path)
each_shape = pytest.mark.parametrize("door", PLAIN, ids=lambda door: door.path)


def poll(served: Served, door: Door, job_id: str) -> httpx.Response:
    """A poll, with no body at all."""
    return served.http.post(door.path, headers={"x-bf-async-id": job_id})


def create(served: Served, door: Door, model: str, **headers: str) -> tuple[str, Any]:
    """The id of a new job, and the whole placeholder."""
    response = served.http.post(door.path, json=door.ask(model), headers=CREATE | headers)
    assert response.status_code == 200, response.text
    placeholder = response.json()
    job_id = placeholder["id"]
    assert str(uuid.UUID(job_id)) == job_id
    assert response.headers["x-bf-async-id"] == job_id
    assert not door.is_done(placeholder)
    return job_id, placeholder


def done(served: Served, door: Door, job_id: str) -> Any:
    """The native answer of a job, once it is done."""
    seen: list[Any] = []

    def is_done() -> bool:
        response = poll(served, door, job_id)
        assert response.status_code == 200, response.text
        assert response.headers["x-bf-async-id"] == job_id
        seen.append(response.json())
        return door.is_done(seen[-1])

    wait_until(is_done, timeout_s=30)
    return seen[-1]


@each_door
def test_a_job_is_created_and_polled_at_one_address(served: Served, door: Door) -> None:
    """Point 17."""
    job_id, _ = create(served, door, "openai/echo")
    answer = done(served, door, job_id)
    assert door.says(answer) == PROMPT
    assert answer["id"] != job_id
    kind = BY_TYPE[door.request_type]
    job = served.wire.get(kind, job_id).json()
    assert completed(job)["extra_fields"]["request_type"] == door.request_type


@each_shape
def test_while_it_runs_there_is_a_placeholder(served: Served, door: Door) -> None:
    """Point 17, and section 6.2."""
    job_id, placeholder = create(served, door, "openai/slow?seconds=0.5")
    response = poll(served, door, job_id)
    running = response.json()
    assert response.status_code == 200
    assert not door.is_done(running)
    for each in (placeholder, running):
        assert each["id"] == job_id
        if door.is_anthropic:
            assert (each["type"], each["role"], each["content"]) == ("message", "assistant", [])
            assert each["stop_reason"] is None
            assert each["usage"] == {"input_tokens": 0, "output_tokens": 0}
        elif door.request_type == "responses":
            assert each["status"] in ("pending", "processing")
            assert (each["object"], each["output"]) == ("response", [])
        else:
            assert (each["object"], each["choices"]) == ("chat.completion", [])
    done(served, door, job_id)


def test_a_response_that_is_not_done_says_what_holds_by_default(served: Served) -> None:
    """Section 6.2."""
    _, placeholder = create(served, PLAIN[0], "openai/hello")
    defaults: dict[str, Any] = {
        "temperature": 1,
        "top_p": 1,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "store": True,
        "background": False,
        "service_tier": "auto",
        "truncation": "disabled",
        "parallel_tool_calls": True,
        "tools": [],
        "tool_choice": "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "reasoning": {},
    }
    assert {name: placeholder[name] for name in defaults} == defaults


@each_shape
def test_a_job_of_a_native_route_is_found_at_the_door(served: Served, door: Door) -> None:
    """Section 5."""
    kind = BY_TYPE[door.request_type]
    job_id = served.wire.submit(kind, "openai/echo")["id"]
    assert door.says(done(served, door, job_id)) == PROMPT


@each_shape
def test_the_header_of_a_poll_comes_first(served: Served, door: Door) -> None:
    """Section 6.1: neither the body nor a wish for another job is looked at."""
    job_id, _ = create(served, door, "openai/echo")
    done(served, door, job_id)
    headers = CREATE | {"x-bf-async-id": job_id}
    for content in (b"", b"{", b"[]"):
        response = served.http.post(door.path, content=content, headers=headers)
        assert response.status_code == 200
        assert door.says(response.json()) == PROMPT


@each_shape
def test_any_value_but_an_empty_one_asks_for_a_job(served: Served, door: Door) -> None:
    """Section 2.1."""
    body = door.ask("openai/echo")
    for value in ("1", "false", "TRUE"):
        response = served.http.post(door.path, json=body, headers={"x-bf-async": value})
        assert not door.is_done(response.json())
    response = served.http.post(door.path, json=body, headers={"x-bf-async": ""})
    assert door.says(response.json()) == PROMPT
    assert "x-bf-async-id" not in response.headers


@each_shape
def test_the_ttl_of_such_a_job_is_the_callers(served: Served, door: Door) -> None:
    """Section 6.1."""
    job_id, _ = create(served, door, "openai/echo", **{"x-bf-async-job-result-ttl": "60"})
    job = served.wire.ended(BY_TYPE[door.request_type], job_id)
    assert (instant(job["expires_at"]) - instant(job["completed_at"])).total_seconds() == 60


# Refusals and failures


@each_shape
def test_an_unknown_job_is_a_404(served: Served, door: Door) -> None:
    """Point 17."""
    other = CHATTING if door.request_type == "responses" else RESPONSES
    anothers = served.wire.submit(other)["id"]
    seen: set[bytes] = set()
    for job_id in (str(uuid.uuid4()), "no-uuid", anothers):
        response = poll(served, door, job_id)
        assert response.status_code == 404
        assert door.message(response) == NO_SUCH_JOB
        seen.add(response.content)
    assert len(seen) == 1


@each_shape
def test_an_empty_id_is_a_400(served: Served, door: Door) -> None:
    """Section 6.3."""
    response = poll(served, door, "")
    assert response.status_code == 400
    assert door.message(response) == EMPTY_ID


@each_shape
def test_a_stream_of_a_job_is_refused(served: Served, door: Door) -> None:
    """Point 17."""
    body = door.ask("openai/echo", stream=True)
    response = served.http.post(door.path, json=body, headers=CREATE)
    assert response.status_code == 400
    assert door.message(response) == NO_STREAM


@each_shape
def test_what_no_job_could_be_made_of_is_refused(served: Served, door: Door) -> None:
    """Section 6.3, and the messages of 1.4."""
    for content in (b"{", b"", b"[]"):
        response = served.http.post(door.path, content=content, headers=CREATE)
        assert response.status_code == 400
        assert door.message(response).startswith("invalid request format: ")
    empty = {"model": "openai/gpt-4", "max_tokens": 1}
    response = served.http.post(door.path, json=empty, headers=CREATE)
    assert response.status_code == 400
    headers = CREATE | {"x-bf-async-webhook": "nobody"}
    response = served.http.post(door.path, json=door.ask("openai/echo"), headers=headers)
    assert response.status_code == 400
    assert "unknown webhook endpoint" in door.message(response)


@each_shape
def test_a_failed_job_has_the_status_and_the_words_of_its_error(
    served: Served, upstream: Upstream, door: Door
) -> None:
    """Section 6.1; clients are told not to repeat the poll."""
    model = f"door-failed-{door.path}"
    upstream.plan(model, Reply(429, b'{"error":{"message":"slow down","type":"rate_limit"}}'))
    job_id, _ = create(served, door, f"once/{model}")
    wait_until(lambda: poll(served, door, job_id).status_code != 200, timeout_s=30)
    response = poll(served, door, job_id)
    assert response.status_code == 429
    assert door.message(response) == "slow down"
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-bf-async-id"] == job_id


@each_shape
def test_a_failure_without_a_status_is_a_500(served: Served, door: Door) -> None:
    """Section 4.2."""
    job_id, _ = create(served, door, "bedrock/command")
    wait_until(lambda: poll(served, door, job_id).status_code != 200, timeout_s=30)
    assert poll(served, door, job_id).status_code == 500


@each_kind
def test_the_other_routes_take_no_jobs(served: Served, kind: Any) -> None:
    """Point 17."""
    if kind.request_type in ("responses", "chat_completion", "rerank", "ocr"):
        kind = BY_TYPE["embedding"]
    request = kind.request("openai/hello")
    for headers in (CREATE, {"x-bf-async-id": str(uuid.uuid4())}):
        response = served.http.post(f"/openai/v1/{kind.path}", headers=headers, **request)
        assert response.status_code == 400
        assert response.content == refusal(400, NO_JOBS)


def test_googles_routes_take_no_jobs(served: Served) -> None:
    """Point 17."""
    contents = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
    for method in ("generateContent", "streamGenerateContent", "embedContent"):
        path = f"/genai/v1beta/models/openai/hello:{method}"
        response = served.http.post(path, json=contents, headers=CREATE)
        assert response.status_code == 400
        assert response.json()["error"]["message"] == NO_JOBS


def test_native_routes_do_not_look_at_these_headers(served: Served) -> None:
    """Section 2.1: they are for integrations."""
    for kind in KINDS:
        headers = CREATE | {"x-bf-async-id": "x"}
        assert served.wire.post(kind, headers=headers).status_code == 202
        request = kind.request("mock/hello")
        response = served.http.post(f"/v1/{kind.path}", headers=headers, **request)
        assert response.status_code == 200
        assert "x-bf-async-id" not in response.headers
