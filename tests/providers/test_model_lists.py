"""Lists of models in each vendor's own form (`lists/`), and what is made of broken ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from hermod.providers.free_calls import free_call
from hermod.providers.model_lists import Listed, all_lists, list_calls, page_in
from hermod.providers.registry import load_rows
from tests.providers.any_json import any_json
from tests.providers.recorded import settings_of

LISTS = sorted((Path(__file__).parent / "lists").glob("*.json"))
URL = "https://api.example.com/v1/models"
ANY_LIST = any_json(
    "data models results modelSummaries id name owner model_id created created_at next last_id "
    "has_more nextPageToken next_page_token nextToken inferenceTypesSupported"
)


@pytest.mark.parametrize("file", LISTS, ids=lambda file: file.stem)
def test_a_recorded_list_is_asked_for_and_read(file: Path) -> None:
    told: dict[str, Any] = json.loads(file.read_text("utf-8"))
    assert told["source"]
    provider = settings_of(told["provider"], json.dumps(told.get("key", {})))
    calls = list_calls(provider, provider.keys[0] if provider.keys else None)
    call = next(each for each in calls if each.url == told["asked"]["url"])
    assert dict(call.headers) == told["asked"]["headers"]
    page = page_in(provider.row, call.url, json.dumps(told["reply"]).encode())
    assert page is not None
    assert page.models == tuple(Listed(*each) for each in told["models"])
    assert page.next_url == told["next"]


def test_what_azure_could_deploy_is_not_what_it_serves() -> None:
    provider = settings_of("azure", '{"azure_key_config": {"endpoint": "https://a.example"}}')
    assert list_calls(provider, provider.keys[0]) == ()
    (call,) = all_lists(provider, provider.keys[0])
    assert call.url == "https://a.example/openai/v1/models"


def test_a_bedrock_at_an_address_of_the_operators_own_has_no_list() -> None:
    provider = settings_of("bedrock")
    own = replace(provider, base_url="https://proxy.example")
    assert list_calls(own, own.keys[0]) == ()


@pytest.mark.parametrize("name", sorted(load_rows()))
def test_every_provider_can_be_looked_at_for_nothing(name: str) -> None:
    key = {
        "azure": '{"azure_key_config": {"endpoint": "https://a.example"}}',
        "vertex": '{"vertex_key_config": {"project_id": "p", "region": "europe-west4"}}',
    }
    provider = settings_of(name, key.get(name, "{}"))
    call = free_call(provider, provider.keys[0] if provider.keys else None)
    assert call is not None
    assert call.needs_key == (name != "perplexity")


def test_vertex_has_tokens_counted_by_a_model_that_its_key_allows() -> None:
    provider = settings_of(
        "vertex",
        '{"models": ["fast"], "vertex_key_config":'
        ' {"project_id": "p", "region": "europe-west4", "deployments": {"fast": "gemini-x"}}}',
    )
    call = free_call(provider, provider.keys[0])
    assert call is not None
    assert call.url == (
        "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"
        "/publishers/google/models/gemini-x:countTokens"
    )
    assert json.loads(call.body) == {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"data": {}}', b"[" * 70 + b"]" * 70])
def test_what_is_no_list_is_told_from_an_empty_one(body: bytes) -> None:
    row = load_rows()["openai"]
    assert page_in(row, URL, body) is None
    assert page_in(row, URL, b'{"data": []}') == ((), None)


def test_an_odd_entry_does_not_hide_the_others() -> None:
    entries = [None, {"id": 5}, {"id": ""}, {"id": "a\nb"}, {"id": "x" * 600}, {"id": "good"}]
    page = page_in(load_rows()["openai"], URL, json.dumps({"data": entries}).encode())
    assert page == ((Listed("good", 0),), None)


@pytest.mark.parametrize("created", ["yesterday", "", -5, 1e300, True, None, [1]])
def test_a_time_that_is_none_is_left_out(created: object) -> None:
    body = json.dumps({"data": [{"id": "m", "created": created}]}).encode()
    assert page_in(load_rows()["openai"], URL, body) == ((Listed("m", 0),), None)


def test_a_list_goes_on_where_it_began() -> None:
    """Whoever answers must not be able to send our key elsewhere."""
    body = b'{"data": [], "next": "https://thief.example/?cursor=2"}'
    page = page_in(load_rows()["openai"], URL, body)
    assert page is not None
    assert page.next_url == f"{URL}?cursor=2"


@pytest.mark.parametrize("name", ["openai", "replicate", "bedrock", "anthropic"])
@given(told=ANY_LIST)
def test_no_json_breaks_the_reading(name: str, told: Any) -> None:
    row = load_rows()[name]
    for body in (told, {"data": told}, {"data": [told]}, {"next": told, "models": [told, told]}):
        page_in(row, URL, json.dumps(body).encode())
