"""The description of the wire against the routes, the request types and what is answered."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import msgspec
import pytest
import schemathesis

from hermod import __version__
from hermod.domain.errors import bad_request
from hermod.governance.wishes import WRITABLE
from hermod.http.openapi import describe
from hermod.http.openapi.schemas import body_schema
from hermod.kinds.kind import AnyKind, Body, Checked, JsonKind, Reader, Reply
from hermod.kinds.registry import KINDS
from hermod.providers.registry import KNOWN_PROVIDERS
from tests.http.write_openapi import CHECKED_IN
from tests.support.inprocess import Running, gateway

DOCUMENT: Final = describe(KINDS, KNOWN_PROVIDERS, "")
OPERATIONS: Final[dict[tuple[str, str], dict[str, Any]]] = {
    (way.upper(), path): operation
    for path, ways in DOCUMENT["paths"].items()
    for way, operation in ways.items()
    if way != "x-also-at"
}
HELLO: Final[dict[str, Any]] = {
    "model": "mock/hello",
    "messages": [{"role": "user", "content": "hi"}],
}
CHAT: Final = "/v1/async/chat/completions"
UNKNOWN: Final = "01890000-0000-7000-8000-000000000000"


def named(kind: AnyKind) -> str:
    return kind.request_type


def fits(instance: object, schema: dict[str, Any]) -> bool:
    """Whether it is valid by a schema of the document."""
    whole = schema | {"components": DOCUMENT["components"]}
    return jsonschema_rs.validator_for(whole).is_valid(instance)


def body_of(operation: dict[str, Any]) -> dict[str, Any]:
    """The schema and the example of a request's body."""
    (content,) = operation["requestBody"]["content"].values()
    return content


def references(value: object) -> Iterator[str]:
    """Every `$ref` below a value."""
    return iter(re.findall(r'"\$ref": "([^"]+)"', json.dumps(value)))


def found(reference: str) -> Any:
    """What a reference leads to."""
    place: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        place = place[step]
    return place


# The routes


async def test_every_route_is_described_and_every_description_is_of_a_route(
    tmp_path: Path,
) -> None:
    described = {
        (way.upper(), each)
        for path, ways in DOCUMENT["paths"].items()
        for each in (path, *ways.get("x-also-at", ()))
        for way in ways
        if way != "x-also-at"
    }
    async with gateway(tmp_path) as running:
        served = {(route.method, route.path) for route in running.service.routes}
    # One route serves all methods of Google's, and has both arguments of a provider's key; and an
    # argument may go on behind a slash.
    of_google = re.compile(r"\{model\}:\w+$")
    of_key = re.compile(r"\{provider\}/keys/\{key\}$")
    assert {
        (way, of_key.sub("{key}", of_google.sub("{model}", path))) for way, path in described
    } == {(way, path.replace("…}", "}")) for way, path in served}


async def test_the_checked_in_document_is_what_is_served(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        response = await running.http.get("/openapi.json")
    assert response.headers["content-type"] == "application/json"
    assert response.content == CHECKED_IN.read_bytes(), "`make openapi` writes it"


def test_the_document_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert DOCUMENT["info"]["version"] == __version__
    schemathesis.openapi.from_dict(DOCUMENT).validate()


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema_rs.meta.validate(schema)


def test_every_reference_leads_somewhere_and_nothing_is_there_in_vain() -> None:
    for reference in references(DOCUMENT):
        found(reference)
    components = DOCUMENT["components"]
    there = {
        f"#/components/{group}/{name}"
        for group in ("schemas", "responses", "parameters")
        for name in components[group]
    }
    assert there == set(references(DOCUMENT))


def test_every_operation_has_a_name_of_its_own_a_summary_and_a_known_tag() -> None:
    names = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(names)) == len(names)
    tags = {tag["name"] for tag in DOCUMENT["tags"]}
    assert {tag for each in OPERATIONS.values() for tag in each["tags"]} == tags
    assert all(operation["summary"] for operation in OPERATIONS.values())


def test_every_parameter_of_a_path_is_described() -> None:
    for (_, path), operation in OPERATIONS.items():
        given = [
            found(each["$ref"]) if "$ref" in each else each
            for each in operation.get("parameters", ())
        ]
        names = [each["name"] for each in given]
        assert len(set(names)) == len(names)
        in_path = {each["name"] for each in given if each["in"] == "path"}
        assert in_path == set(re.findall(r"\{(\w+)\}", path)), path


def test_links_lead_from_a_submit_to_its_poll() -> None:
    for kind in KINDS:
        submit = OPERATIONS["POST", f"/v1/async/{kind.path}"]
        poll = OPERATIONS["GET", f"/v1/async/{kind.path}/{{job_id}}"]
        link = submit["responses"]["202"]["links"]["poll"]
        assert link["operationId"] == poll["operationId"]
        assert link["parameters"] == {"job_id": "$response.body#/id"}


def test_only_what_needs_no_credential_says_so() -> None:
    public = {path for (_, path), each in OPERATIONS.items() if each.get("security") == []}
    assert public == {
        "/health",
        "/health/liveness",
        "/health/liveliness",
        "/health/readiness",
        "/openapi.json",
        "/docs",
        "/docs/{file}",
        "/.well-known/jwks.json",
        "/api/session/login",
        "/api/session/is-auth-enabled",
    }
    public -= {"/api/session/login"}  # whose 401 is for a wrong password
    for (_, path), operation in OPERATIONS.items():
        assert ("401" in operation["responses"]) == (path not in public), path


def test_what_manages_the_gateway_is_for_admins() -> None:
    schemes = [{}, {"admin": []}, {"password": []}, {"session": []}]
    for (_, path), operation in OPERATIONS.items():
        if path.startswith("/api/") and operation.get("security") != []:
            assert operation["security"] == schemes, path
        else:
            assert operation.get("security", []) == [], path


def test_a_base_path_is_the_server() -> None:
    document = describe(KINDS, KNOWN_PROVIDERS, "/ai/gw")
    assert document["servers"] == [{"url": "/ai/gw"}]
    assert document["paths"].keys() == DOCUMENT["paths"].keys()


# The request types


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_every_example_is_a_request_by_the_description(kind: AnyKind) -> None:
    for path in (f"/v1/async/{kind.path}", f"/v1/{kind.path}"):
        body = body_of(OPERATIONS["POST", path])
        assert fits(body["example"], body["schema"])


@pytest.mark.parametrize("kind", [each for each in KINDS if isinstance(each, JsonKind)], ids=named)
def test_every_example_passes_the_check(kind: JsonKind) -> None:
    checked = kind.check(json.dumps(kind.example).encode(), KNOWN_PROVIDERS)
    assert not checked.stream


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_every_documented_field_is_described(kind: AnyKind) -> None:
    assert body_schema(kind)["properties"].keys() == kind.known_fields


@pytest.mark.parametrize("kind", KINDS, ids=named)
def test_everything_in_an_example_is_required(kind: AnyKind) -> None:
    body = body_of(OPERATIONS["POST", f"/v1/async/{kind.path}"])
    example, schema = body["example"], body["schema"]
    assert fits(example | {"no such field": [1]}, schema)
    for name in example.keys() - {"max_tokens"}:
        assert not fits({key: example[key] for key in example.keys() - {name}}, schema), name


@pytest.mark.parametrize("model", ["", "model", "nobody/model", "openai/", "openai/\0"])
def test_the_model_of_our_own_routes_names_a_known_provider(model: str) -> None:
    assert not fits(model, found("#/components/schemas/Model"))
    assert fits("openai/ft:a/b c", found("#/components/schemas/Model"))


@pytest.mark.parametrize(
    ("request_type", "field", "value", "valid"),
    [
        ("chat_completion", "messages", [], False),
        ("chat_completion", "messages", [{}], False),
        ("chat_completion", "messages", [{"role": "user"}], True),
        ("chat_completion", "stop", "x", True),
        ("chat_completion", "stop", 1, False),
        ("chat_completion", "max_tokens", 10.0, True),
        ("chat_completion", "max_tokens", 10.5, False),
        ("chat_completion", "temperature", 99, True),
        ("chat_completion", "user", None, True),
        ("text_completion", "prompt", "", True),
        ("text_completion", "prompt", None, False),
        ("responses", "input", "", True),
        ("responses", "input", [], False),
        ("embedding", "input", [[1], [2]], True),
        ("embedding", "input", {}, False),
        ("speech", "input", "", False),
        ("speech", "voice", [{"voice": ""}], False),
        ("image_generation", "prompt", "", False),
        ("rerank", "query", " ", False),
        ("rerank", "top_n", 0, False),
        ("rerank", "documents", [{"text": ""}], False),
        ("ocr", "document", {"type": "image_url"}, False),
    ],
)
def test_the_description_is_as_strict_as_the_check(
    request_type: str, field: str, value: object, valid: bool
) -> None:
    (kind,) = (each for each in KINDS if each.request_type == request_type)
    assert isinstance(kind, JsonKind)
    request = {**kind.example, field: value}
    assert fits(request, body_of(OPERATIONS["POST", f"/v1/{kind.path}"])["schema"]) == valid
    try:
        kind.check(json.dumps(request).encode(), KNOWN_PROVIDERS)
    except type(bad_request("")):
        assert not valid
    else:
        assert valid


def test_only_a_synchronous_call_may_ask_for_a_stream() -> None:
    (kind,) = (each for each in KINDS if each.request_type == "chat_completion")
    asked = {**kind.example, "stream": True}
    assert fits(asked, body_of(OPERATIONS["POST", f"/v1/{kind.path}"])["schema"])
    assert not fits(asked, body_of(OPERATIONS["POST", f"/v1/async/{kind.path}"])["schema"])


def test_the_model_of_a_door_needs_no_provider() -> None:
    (kind,) = (each for each in KINDS if each.request_type == "chat_completion")
    asked = {**kind.example, "model": "gpt-4o-mini"}
    assert fits(asked, body_of(OPERATIONS["POST", f"/openai/v1/{kind.path}"])["schema"])


@pytest.mark.parametrize("path", [path for way, path in OPERATIONS if way == "POST"])
def test_every_body_has_an_example_that_fits(path: str) -> None:
    operation = OPERATIONS["POST", path]
    if "requestBody" in operation:
        body = body_of(operation)
        assert fits(body["example"], body["schema"])


def test_every_example_of_an_answer_fits() -> None:
    answers = [
        *DOCUMENT["components"]["responses"].values(),
        *(each for operation in OPERATIONS.values() for each in operation["responses"].values()),
    ]
    contents = [each for answer in answers for each in answer.get("content", {}).values()]
    examples = [each for each in contents if "example" in each]
    assert len(examples) > 3 * len(KINDS)
    for each in examples:
        assert fits(each["example"], each["schema"])


def test_a_new_request_type_is_described_without_another_line() -> None:
    class Haiku(Body, frozen=True, gc=False):
        topic: str | None = None

    reader = Reader(Haiku)

    def check(body: bytes, _: object) -> Checked:
        if not reader.read(body).topic:
            raise bad_request("topic is required")
        return Checked("mock", "haiku")

    kind = JsonKind(
        path="haikus",
        request_type="haiku",
        struct=Haiku,
        check=check,
        reply=Reply(essential="lines"),
        example={"model": "mock/haiku", "topic": "spring"},
    )
    document = describe((*KINDS, kind), KNOWN_PROVIDERS, "")
    assert {"/v1/async/haikus", "/v1/async/haikus/{job_id}", "/v1/haikus"} < set(document["paths"])
    schema = document["components"]["schemas"]["HaikuRequest"]
    assert schema["properties"]["topic"] == {"type": "string", "minLength": 1}
    assert schema["required"] == ["topic"]
    schemathesis.openapi.from_dict(document).validate()


def test_a_type_that_cannot_be_described_is_an_error_and_no_hole() -> None:
    class Odd(Body, frozen=True, gc=False):
        when: msgspec.Raw | set[int] = msgspec.Raw(b"null")

    kind = JsonKind(
        path="odd",
        request_type="odd",
        struct=Odd,
        check=lambda _body, _providers: Checked("mock", "odd"),
        reply=Reply(essential="x"),
    )
    with pytest.raises(TypeError, match="how is set"):
        body_schema(kind)


def test_every_body_of_the_management_is_described_as_it_is_judged() -> None:
    for wish in WRITABLE:
        schema = found(f"#/components/schemas/{wish.__name__}")
        assert schema["properties"].keys() == set(wish.__struct_fields__)
        assert fits({}, schema)
        assert not fits({"no such member": 1}, schema)
    new_key = body_of(OPERATIONS["POST", "/api/governance/virtual-keys"])["schema"]
    assert not fits({"budget": None}, new_key)
    assert not fits({"name": "x" * 256}, new_key)
    assert not fits({"name": "x", "provider_configs": [{"secret": "y"}]}, new_key)


# What is answered


def assert_described(path: str, way: str, status: int, headers: Any, body: Any) -> None:
    """The answer is one that the document lists, with its body and required headers."""
    listed = OPERATIONS[way, path]["responses"][str(status)]
    if "$ref" in listed:
        listed = found(listed["$ref"])
    for name, header in listed.get("headers", {}).items():
        if header.get("required"):
            assert name in headers, (path, status, name)
        if name in headers and "const" in header["schema"]:
            assert headers[name] == header["schema"]["const"]
    schema = listed["content"]["application/json"]["schema"]
    assert fits(body, schema), (path, status, body)


async def answered(
    running: Running, way: str, path: str, argument: str = UNKNOWN, **sent: Any
) -> dict[str, Any]:
    """What the gateway answers, which must be as described."""
    response = await running.http.request(way, re.sub(r"\{\w+\}", argument, path), **sent)
    assert_described(path, way, response.status_code, response.headers, response.json())
    return response.json()


async def ended(running: Running, job: dict[str, Any]) -> dict[str, Any]:
    """The job once it has ended; every answer on the way is as described."""
    while "completed_at" not in job:
        job = await answered(running, "GET", CHAT + "/{job_id}", job["id"])
    return job


async def test_what_becomes_of_a_job_is_as_described(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        headers = {"x-bf-async-job-result-ttl": "60", "x-request-id": "r"}
        job = await answered(running, "POST", CHAT, json=HELLO, headers=headers)
        assert (await ended(running, job))["result"]
        failing = HELLO | {"model": "mock/fail?status=429"}
        job = await answered(running, "POST", CHAT, json=failing)
        assert (await ended(running, job))["error"]


async def test_other_answers_are_as_described(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        await answered(running, "POST", CHAT, json={})
        await answered(running, "GET", CHAT + "/{job_id}")
        await answered(running, "POST", "/v1/chat/completions", json=HELLO)
        await answered(running, "POST", "/openai/v1/chat/completions", json=HELLO)
        await answered(running, "POST", "/anthropic/v1/messages", json={})
        await answered(running, "POST", "/genai/v1beta/models/{model}:generateContent", json={})
        await answered(running, "GET", "/v1/responses/{response_id}")
        for path in ("/v1/models/{model}", "/genai/v1beta/models/{model}"):
            await answered(running, "GET", path)
            await answered(running, "GET", path, "mock/hello")
        for path in ("/v1/models", "/openai/v1/models", "/genai/v1beta/models", "/openapi.json"):
            await answered(running, "GET", path)
        for path in ("/health", "/health/liveness", "/health/readiness"):
            await answered(running, "GET", path)


async def test_jobs_of_a_door_are_as_described(tmp_path: Path) -> None:
    slow = {"model": "mock/slow?seconds=600"}
    asked: dict[str, dict[str, Any]] = {
        "/openai/v1/chat/completions": HELLO | slow,
        "/openai/v1/responses": {"input": "hi"} | slow,
        "/anthropic/v1/messages": HELLO | slow,
    }
    async with gateway(tmp_path) as running:
        for path, body in asked.items():
            job = await answered(running, "POST", path, json=body, headers={"x-bf-async": "true"})
            headers = {"x-bf-async-id": job["id"]}
            assert await answered(running, "POST", path, headers=headers)
            await answered(running, "POST", path, headers={"x-bf-async-id": UNKNOWN})
        running.service.hurry()


async def test_a_background_response_is_as_described(tmp_path: Path) -> None:
    asked = {"model": "mock/slow?seconds=600", "input": "hi", "background": True}
    async with gateway(tmp_path) as running:
        response = await answered(running, "POST", "/v1/responses", json=asked)
        path = "/v1/responses/{response_id}"
        await answered(running, "GET", path, response["id"])
        cancelled = await answered(running, "POST", path + "/cancel", response["id"])
        assert cancelled["status"] == "cancelled"


GOVERNANCE: Final = "/api/governance"
LIMITED: Final[dict[str, Any]] = {
    "budget": {"max_limit": 10, "reset_duration": "1d", "calendar_aligned": True},
    "rate_limit": {"request_max_limit": 99, "request_reset_duration": "1d"},
}


async def test_what_an_operator_makes_is_shown_as_described(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        here = f"{GOVERNANCE}/customers"
        whole = await answered(running, "POST", here, json={"name": "c", **LIMITED})
        customer = whole["customer"]["id"]
        of_customer = {"name": "t", "customer_id": customer, **LIMITED}
        whole = await answered(running, "POST", f"{GOVERNANCE}/teams", json=of_customer)
        key: dict[str, Any] = {
            "name": "k",
            "team_id": whole["team"]["id"],
            "expires_at": "2100-01-01T00:00:00Z",
            "max_parallel_jobs": 3,
            "on_limit": "reject",
            "provider_configs": [{"provider": "mock", "key_ids": ["*", "a"], **LIMITED}],
            **LIMITED,
        }
        await answered(running, "POST", f"{GOVERNANCE}/virtual-keys", json=key)
        model = {"model_name": "m", "provider": "openai", **LIMITED}
        await answered(running, "POST", f"{GOVERNANCE}/model-configs", json=model)
        here = f"{GOVERNANCE}/providers/{{id}}"
        await answered(running, "PUT", here, "openai", json=LIMITED)
        for path, one in (
            *(("customers", "customers"), ("teams", "teams"), ("virtual-keys", "virtual_keys")),
            *(("model-configs", "model_configs"), ("providers", "providers")),
        ):
            here = f"{GOVERNANCE}/{path}"
            whole = await answered(running, "GET", here, params={"limit": 5, "search": ""})
            argument = whole[one][0].get("id", "openai")
            await answered(running, "GET", here + "/{id}", argument)
            await answered(running, "PUT", here + "/{id}", argument, json={"budget": None})
            await answered(running, "PUT", here + "/{id}", argument, json={"budget": 1})
            await answered(running, "GET", here + "/{id}")
            if path == "virtual-keys":
                await answered(running, "POST", here + "/{id}/rotate", argument)
                await answered(running, "POST", here + "/{id}/token", argument)
                await answered(running, "POST", here, json=key)
            await answered(running, "GET", f"{GOVERNANCE}/budgets")
            await answered(running, "GET", f"{GOVERNANCE}/rate-limits")
            await answered(running, "DELETE", here + "/{id}", argument)
        entries = await answered(running, "GET", f"{GOVERNANCE}/audit", params={"limit": 2})
        assert entries["count"] == 2
        await answered(running, "GET", "/.well-known/jwks.json")


async def test_routing_rules_are_refused_as_described(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        here = f"{GOVERNANCE}/routing-rules"
        await answered(running, "GET", here)
        await answered(running, "POST", here, json={})
        for way in ("GET", "PUT", "DELETE"):
            await answered(running, way, here + "/{id}")


async def test_providers_and_their_keys_are_shown_as_described(tmp_path: Path) -> None:
    providers = {"groq": {"keys": [{"value": "gsk-1"}]}}
    async with gateway(tmp_path, config={"providers": providers}) as running:
        here = "/api/providers"
        one = here + "/{provider}"
        new = {"provider": "openai", "keys": [{"name": "a", "value": "sk-1"}]}
        await answered(running, "POST", here, json=new)
        await answered(running, "POST", here, json={})
        for name in ("openai", "groq"):
            await answered(running, "GET", one, name)
            await answered(running, "PUT", one, name, json={"send_back_raw_request": True})
            keys = await answered(running, "GET", one + "/keys", name)
            key = f"{name}/keys/{keys['keys'][0]['id']}"
            place = re.sub(r"\{provider\}.*", key, one)
            for way, body in (("GET", None), ("PUT", {"enabled": False}), ("DELETE", None)):
                response = await running.http.request(way, place, json=body)
                told = response.status_code, response.headers, response.json()
                assert_described(one + "/keys/{key}", way, *told)
            await answered(running, "POST", one + "/keys", name, json={"value": "sk-2"})
        for path in (here, "/api/keys", "/api/models", "/api/models/details"):
            await answered(running, "GET", path)
        await answered(running, "DELETE", one, "openai")


async def test_settings_and_sessions_are_as_described(tmp_path: Path) -> None:
    async with gateway(tmp_path) as running:
        config = await answered(running, "GET", "/api/config")
        await answered(running, "PUT", "/api/config", json=config)
        await answered(running, "PUT", "/api/config", json={"x": 1})
        await answered(running, "GET", "/api/version")
        await answered(running, "POST", "/api/session/login", json={})
        await answered(running, "GET", "/api/session/is-auth-enabled")
        await answered(running, "POST", "/api/session/logout")
        await answered(running, "POST", "/api/session/ws-ticket")
