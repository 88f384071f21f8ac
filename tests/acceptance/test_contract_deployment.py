"""Behind a token and below a path, as MPilot deploys it (wire-contract 0, 2.2, 2.3, 4.5)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import pytest

from tests.acceptance.conftest import contract_config
from tests.faults.places import PLACES, Place
from tests.support.program import MockUpstream
from tests.support.upstream import Upstream
from tests.support.wire import (
    BY_TYPE,
    CHATTING,
    KINDS,
    NO_SUCH_JOB,
    PROMPT,
    Kind,
    Wire,
    assert_refused,
    completed,
    each_kind,
)

BASE_PATH = "/p"
TOKEN = "an-admin-token-of-some-length"
UNAUTHORIZED = {
    "type": "unauthorized",
    "is_bifrost_error": False,
    "status_code": 401,
    "error": {"message": "Unauthorized"},
    "extra_fields": {},
}
CREDENTIALS = {
    "bearer": {"authorization": f"Bearer {TOKEN}"},
    "bearer in lower case": {"authorization": f"bearer {TOKEN}"},
    "x-bf-vk": {"x-bf-vk": TOKEN},
    "x-api-key": {"x-api-key": TOKEN},
    "x-goog-api-key": {"x-goog-api-key": TOKEN},
    "api-key": {"api-key": TOKEN},
    "beside another": {"x-bf-vk": TOKEN, "authorization": "Bearer something-else"},
}
NO_CREDENTIALS = (
    {},
    {"authorization": "Bearer another"},
    {"authorization": f"Basic {TOKEN}"},
    {"authorization": TOKEN},
    {"x-api-key": TOKEN + "x"},
    {"x-api-key": ""},
    {"x-bf-api-key": TOKEN},
    {"cookie": f"token={TOKEN}"},
)


class Deployed(NamedTuple):
    """A gateway that other machines can reach."""

    anonymous: httpx.Client
    wire: Wire
    """With the token in `Authorization`."""


@pytest.fixture(scope="module", params=PLACES, ids=lambda kind: kind.__name__)
def deployed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    mock_upstream: MockUpstream,
    upstream: Upstream,
) -> Iterator[Deployed]:
    """One such gateway, once on each store."""
    kind: type[Place] = request.param
    folder = tmp_path_factory.mktemp("deployed")
    config = contract_config(mock_upstream, upstream)
    config["hermod"] |= {"base_path": BASE_PATH, "host": "0.0.0.0"}
    environ = {"HERMOD_ADMIN_TOKEN": TOKEN}
    with (
        kind.new(folder, lambda: request.getfixturevalue("cluster")) as place,
        place.start("gateway", config, environ=environ) as gateway,
    ):
        gateway.wait_ready()
        assert TOKEN not in gateway.output
        url = f"http://127.0.0.1:{gateway.port}{BASE_PATH}"
        bearer = CREDENTIALS["bearer"]
        with (
            httpx.Client(base_url=url, timeout=30, trust_env=False) as anonymous,
            httpx.Client(base_url=url, timeout=30, trust_env=False, headers=bearer) as known,
        ):
            yield Deployed(anonymous, Wire(known))
        assert TOKEN not in gateway.output
        assert "Traceback" not in gateway.output


@each_kind
def test_every_kind_runs_below_the_path(deployed: Deployed, kind: Kind) -> None:
    response = deployed.wire.post(kind, kind.at_upstream("echo"))
    assert response.status_code == 202
    job_id = response.json()["id"]
    assert response.headers["location"] == f"{BASE_PATH}/v1/async/{kind.path}/{job_id}"
    completed(deployed.wire.ended(kind, job_id))


@pytest.mark.parametrize("credential", CREDENTIALS.values(), ids=CREDENTIALS)
def test_the_token_is_accepted_in_every_key_header(
    deployed: Deployed, credential: dict[str, str]
) -> None:
    """Point 14, as far as there are no virtual keys; and each may read what another made."""
    path = f"/v1/async/{CHATTING.path}"
    body = CHATTING.request("openai/echo")
    response = deployed.anonymous.post(path, headers=credential, **body)
    assert response.status_code == 202
    job_id = response.json()["id"]
    deployed.wire.ended(CHATTING, job_id)
    polled = deployed.anonymous.get(f"{path}/{job_id}", headers=credential)
    assert completed(polled.json())["choices"][0]["message"]["content"] == PROMPT


@each_kind
def test_nothing_is_done_for_a_caller_without_the_token(deployed: Deployed, kind: Kind) -> None:
    job_id = deployed.wire.submit(kind)["id"]
    for credential in NO_CREDENTIALS:
        anonymous, path = deployed.anonymous, f"/v1/async/{kind.path}"
        answers = (
            anonymous.post(path, headers=credential, **kind.request()),
            anonymous.post(path, headers=credential, **kind.request("no-prefix")),
            anonymous.get(f"{path}/{job_id}", headers=credential),
            anonymous.get(f"{path}/nothing", headers=credential),
            anonymous.post(f"/v1/{kind.path}", headers=credential, **kind.request()),
        )
        for response in answers:
            assert response.status_code == 401
            assert response.json() == UNAUTHORIZED
            assert response.headers["www-authenticate"] == "Bearer"


def test_an_unknown_virtual_key_is_refused_and_sees_nothing(deployed: Deployed) -> None:
    """Sections 3.6 and 4.3."""
    job_id = deployed.wire.submit(CHATTING)["id"]
    key = {"x-bf-vk": "sk-bf-00000000-0000-4000-8000-000000000000"}
    path = f"/v1/async/{CHATTING.path}"
    response = deployed.anonymous.post(path, headers=key, **CHATTING.request())
    assert response.status_code == 403
    assert response.json() == {
        "type": "virtual_key_not_found",
        "is_bifrost_error": False,
        "status_code": 403,
        "error": {"message": "Virtual key not found"},
        "extra_fields": {},
    }
    polled = deployed.anonymous.get(f"{path}/{job_id}", headers=key)
    assert_refused(polled, 404, NO_SUCH_JOB)


def test_without_the_path_there_is_nothing(deployed: Deployed) -> None:
    url = deployed.wire.http.base_url.copy_with(path="/")
    bearer = CREDENTIALS["bearer"]
    with httpx.Client(base_url=url, timeout=30, trust_env=False, headers=bearer) as outside:
        for kind in KINDS:
            for path in (f"/v1/async/{kind.path}", f"/v1/{kind.path}"):
                response = outside.post(path, **kind.request())
                assert response.status_code == 404
                assert response.json()["is_bifrost_error"] is False


@pytest.mark.parametrize(
    ("path", "more"),
    [("/openai/v1/responses", {"input": PROMPT}), ("/anthropic/v1/messages", {"max_tokens": 9})],
)
def test_the_doors_are_below_the_path_and_want_the_token_too(
    deployed: Deployed, path: str, more: dict[str, Any]
) -> None:
    """Sections 6.1 and 4.5."""
    messages = [{"role": "user", "content": PROMPT}]
    body = {"model": "openai/echo", "messages": messages, **more}
    create = {"x-bf-async": "true"}
    refused = deployed.anonymous.post(path, json=body, headers=create)
    assert refused.status_code == 401
    assert refused.json()["error"]["message"] == "Unauthorized"
    response = deployed.wire.http.post(path, json=body, headers=create)
    assert response.status_code == 200
    job_id = response.json()["id"]
    poll = {"x-bf-async-id": job_id}
    assert deployed.anonymous.post(path, headers=poll).status_code == 401
    completed(deployed.wire.ended(BY_TYPE["responses"], job_id))
    answer = deployed.wire.http.post(path, headers=poll)
    assert answer.status_code == 200
    assert PROMPT in answer.text


def test_probes_need_neither_the_path_nor_the_token(deployed: Deployed) -> None:
    """Section 9: no auth on `/health`."""
    url = deployed.anonymous.base_url.copy_with(path="/")
    with httpx.Client(base_url=url, timeout=30, trust_env=False) as outside:
        for probe in (outside, deployed.anonymous):
            response = probe.get("/health")
            assert response.status_code == 200
            assert response.json()["status"] == "ok"
