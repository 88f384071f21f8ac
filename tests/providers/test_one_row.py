"""A provider that speaks OpenAI's format is one table and nothing else."""

import json
from dataclasses import replace
from importlib import resources

from hermod.domain.failure import Failure
from hermod.domain.outcome import Answer
from hermod.domain.provider import Row
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Outgoing
from hermod.providers.adapters import way_of
from hermod.providers.prepare import build_headers, key_header
from hermod.providers.registry import endpoint, models_url, parse_rows
from hermod.providers.replies import parse_reply
from tests.providers.recorded import settings_of

TABLE = resources.files("hermod.providers").joinpath("providers.toml").read_text("utf-8")
NEW = """
[sarvam]
base_url = "https://api.sarvam.example/llm"
key_env = ["SARVAM_API_KEY"]
auth = "api-key"
drops = ["store"]
renames = { max_completion_tokens = "max_tokens" }
[sarvam.paths]
chat_completion = "/v1/chat/completions"
"""
"""The one thing to write."""
CHAT = KIND_BY_TYPE["chat_completion"]


def new_row() -> Row:
    """The table with one more, read."""
    return parse_rows(TABLE + NEW)["sarvam"]


def test_one_table_is_a_provider() -> None:
    row = new_row()
    provider = replace(settings_of("openai"), name=row.name, row=row, base_url=row.base_url)
    way = way_of(provider, "chat_completion", text_to_chat=False, chat_to_responses=False)
    assert way is not None
    asked = {"messages": [{"role": "user", "content": "Hello."}], "max_completion_tokens": 5}
    body = json.dumps({"model": "sarvam/m", "store": True, **asked}).encode()
    outgoing = Outgoing(body, None, "m", True, "", provider, provider.keys[0])
    prepared = way.dialect.build(CHAT, outgoing)
    assert json.loads(prepared.body) == {
        "model": "m",
        "messages": asked["messages"],
        "max_tokens": 5,
    }
    url = endpoint(provider, way.request_type, provider.keys[0], path=prepared.path)
    assert url == "https://api.sarvam.example/llm/v1/chat/completions"
    assert models_url(provider) == "https://api.sarvam.example/llm/v1/models"
    headers = build_headers(key_header(row.auth, "sk-1"), {}, "job-1/1")
    assert headers["api-key"] == "sk-1"


def test_its_answers_are_accepted_and_its_errors_understood() -> None:
    answer = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi."}}]}
    for status, body in ((200, answer), (402, {"error": {"message": "No credit."}})):
        outcome = parse_reply(
            CHAT, status, "application/json", json.dumps(body).encode(), None,
            provider="sarvam", model="m", latency_ms=1, now_at=0,
        )  # fmt: skip
        if status == 200:
            assert isinstance(outcome, Answer)
            assert json.loads(outcome.body)["choices"] == answer["choices"]
        else:
            assert not isinstance(outcome, Answer)
            assert isinstance(outcome.failure, Failure)
            assert (outcome.failure.message, outcome.failure.status_code) == ("No credit.", 402)


def test_what_it_does_not_offer_has_no_way() -> None:
    row = new_row()
    provider = replace(settings_of("openai"), name=row.name, row=row, base_url=row.base_url)
    assert way_of(provider, "ocr", text_to_chat=True, chat_to_responses=True) is None
