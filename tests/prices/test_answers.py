"""What an answer shows of its cost."""

import json

import pytest

from hermod.domain.outcome import Answer
from hermod.domain.price import OwnPrice
from hermod.domain.usage import Usage
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.prices.prices import Prices
from hermod.providers.replies import parse_reply
from tests.prices.oracle import NOON, data, theirs

CHAT = b'{"choices":[{"message":{"role":"assistant","content":"hi"}}],"usage":%b}'
TEXT = b'{"text":"hi","usage":{"type":"duration","seconds":60}}'
PAGES = b'{"pages":[{"index":0,"markdown":"hi"}],"usage_info":{"pages_processed":2}}'
RESULTS = b'{"results":[{"index":0,"relevance_score":0.5}]}'
OWN = {"cohere/rerank-v3.5": OwnPrice(request_usd_nanos=2_000_000)}


class Noon:
    """A clock that stands still."""

    def now(self) -> int:
        return NOON

    def monotonic(self) -> float:
        return 0.0


def answered(kind: str, model: str, body: bytes) -> tuple[Answer, object]:
    """The answer to a call of `provider/model`, and the cost that its result shows."""
    provider, _, name = model.partition("/")
    book = Prices(data, Noon(), OWN)
    outcome = parse_reply(
        KIND_BY_TYPE[kind], 200, "application/json", body, None, provider=provider, model=name,
        latency_ms=1, now_at=NOON, price=lambda usage: book.cost(provider, name, usage),
    )  # fmt: skip
    assert isinstance(outcome, Answer)
    return outcome, json.loads(outcome.body)["extra_fields"].get("cost_usd_nanos")


@pytest.mark.parametrize(
    ("kind", "model", "body", "usage"),
    [
        (
            "chat_completion",
            "openai/gpt-4o",
            CHAT % b'{"prompt_tokens":9,"completion_tokens":3}',
            Usage(9, 3),
        ),
        ("transcription", "openai/whisper-1", TEXT, Usage(audio_ms=60_000)),
        ("ocr", "mistral/mistral-ocr-2505", PAGES, Usage(pages=2)),
    ],
)
def test_a_result_shows_what_it_cost(kind: str, model: str, body: bytes, usage: Usage) -> None:
    provider, _, name = model.partition("/")
    cost = theirs(provider, name, usage, NOON)
    answer, shown = answered(kind, model, body)
    assert (answer.usage, answer.cost_usd_nanos, shown) == (usage, cost, cost)


def test_the_upstreams_own_figure_is_shown() -> None:
    body = CHAT % b'{"prompt_tokens":9,"completion_tokens":3,"cost":0.0001}'
    assert answered("chat_completion", "openrouter/any/model", body)[1] == 100_000


def test_a_cost_that_is_not_known_is_left_out() -> None:
    body = CHAT % b'{"prompt_tokens":9,"completion_tokens":3}'
    answer, shown = answered("chat_completion", "openai/never-heard-of", body)
    assert (answer.cost_usd_nanos, shown) == (None, None)
    assert answer.usage == Usage(9, 3)


def test_an_answer_without_a_usage_may_have_a_price_by_the_request() -> None:
    answer, shown = answered("rerank", "cohere/rerank-v3.5", RESULTS)
    assert (answer.usage, answer.cost_usd_nanos, shown) == (None, 2_000_000, 2_000_000)
