"""prices/prices.py: whose price counts, under which name it is found, and what is told."""

import asyncio
import logging
import threading
from collections.abc import Callable

import pytest

from hermod.domain.price import OwnPrice
from hermod.domain.usage import Usage
from hermod.prices.data import BadPrices, Data
from hermod.prices.prices import Prices
from tests.prices import oracle
from tests.prices.oracle import NOON, data

ONE = Usage(1_000_000)
DOLLAR = 1_000_000_000


class Noon:
    """A clock that somebody turns."""

    def __init__(self) -> None:
        self.at = NOON

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return 0.0


def never() -> Data:
    """A reader of data that nobody should need."""
    raise AssertionError("the price data was read")


def prices(
    own: dict[str, OwnPrice] | None = None,
    read: Callable[[], Data] = data,
    bases: dict[str, str] | None = None,
) -> Prices:
    """Prices at noon."""
    return Prices(read, Noon(), own, bases)


def cost_of(provider: str, model: str, asked: str | None = None, base: str | None = None) -> int:
    """What a million tokens of input cost."""
    cost = prices(bases={provider: base} if base else {}).cost(provider, model, ONE, asked)
    assert cost
    return cost


def theirs(seller: str, model: str) -> int:
    """The same, as the package itself says."""
    return int(oracle.theirs(seller, model, ONE, NOON))


HAIKU = "claude-haiku-4-5-20251001"
NAMES = [
    ("openai", "gpt-4o", "openai", "gpt-4o"),
    ("openai", "GPT-4o", "openai", "gpt-4o"),
    ("openai", "gpt-4o-2024-08-06", "openai", "gpt-4o"),
    ("openai", "gpt-5.2-20251211", "openai", "gpt-5.2"),
    ("azure", "gpt-4o", "openai", "gpt-4o"),
    ("anthropic", "claude-opus-4-5-20251101", "anthropic", "claude-opus-4-5"),
    ("gemini", "gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ("gemini", "models/gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ("vertex", "gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ("vertex", "google/gemini-2.5-flash", "google", "gemini-2.5-flash"),
    ("vertex", "claude-haiku-4-5@20251001", "anthropic", "claude-haiku-4-5"),
    ("bedrock", f"us.anthropic.{HAIKU}-v1:0", "aws", f"us.anthropic.{HAIKU}-v1:0"),
    ("bedrock", f"global.anthropic.{HAIKU}-v1:0", "aws", f"global.anthropic.{HAIKU}-v1:0"),
    ("bedrock", "apac.amazon.nova-lite-v1:0", "aws", "amazon.nova-lite-v1:0"),
    (
        "bedrock",
        f"arn:aws:bedrock:us-east-1:1:inference-profile/us.anthropic.{HAIKU}-v1:0",
        "aws",
        f"us.anthropic.{HAIKU}-v1:0",
    ),
    ("bedrock", "apac.meta.llama3-1-8b-instruct-v1:0", "aws", "meta.llama3-1-8b-instruct-v1:0"),
    ("mistral", "mistral-small-latest", "mistral", "mistral-small-latest"),
    ("groq", "openai/gpt-oss-120b", "groq", "openai/gpt-oss-120b"),
    ("openrouter", "openai/gpt-4o", "openrouter", "openai/gpt-4o"),
    ("together", "openai/gpt-oss-120b", "together", "openai/gpt-oss-120b"),
    ("fireworks", "accounts/fireworks/models/gpt-oss-120b", "fireworks",
     "accounts/fireworks/models/gpt-oss-120b"),
    ("fireworks", "gpt-oss-120b", "fireworks", "accounts/fireworks/models/gpt-oss-120b"),
    ("deepseek", "deepseek-chat", "deepseek", "deepseek-chat"),
    ("xai", "grok-4", "x-ai", "grok-4"),
    ("cerebras", "gpt-oss-120b", "cerebras", "gpt-oss-120b"),
    ("cohere", "embed-v4.0", "cohere", "embed-v4.0"),
    ("perplexity", "sonar", "perplexity", "sonar"),
    ("huggingface", "openai/gpt-oss-120b:groq", "huggingface_groq", "openai/gpt-oss-120b"),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "model", "seller", "known_as"), NAMES)
def test_a_model_is_found_under_the_name_that_its_provider_has_for_it(
    provider: str, model: str, seller: str, known_as: str
) -> None:
    assert cost_of(provider, model) == theirs(seller, known_as)


def test_a_deployment_is_priced_by_the_name_that_was_asked_for() -> None:
    assert cost_of("azure", "gpt-4-production", "gpt-4o") == theirs("openai", "gpt-4o")
    profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x1"
    nova = "amazon.nova-lite-v1:0"
    assert cost_of("bedrock", profile, nova) == theirs("aws", nova)


def test_an_alias_is_priced_by_what_it_stands_for() -> None:
    mini = theirs("openai", "gpt-4o-mini")
    assert cost_of("openai", "gpt-4o-mini", "fast") == mini
    assert cost_of("openai", "gpt-4o-mini", "gpt-4o") == mini


def test_a_custom_provider_is_priced_by_its_shape_whatever_its_address() -> None:
    opus = theirs("anthropic", "claude-opus-4-5")
    assert cost_of("mine", "gpt-4o", base="openai") == theirs("openai", "gpt-4o")
    assert cost_of("mine", "claude-opus-4-5", base="anthropic") == opus
    assert cost_of("mine", "anthropic/claude-opus-4-5", base="openai") == opus
    assert prices(bases={"mine": "openai"}).cost("mine", "my-own-model", ONE) is None


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "never-heard-of"),
        ("openai", "tts-1"),
        ("cohere", "rerank-v3.5"),
        ("huggingface", "meta-llama/Llama-3.3-70B-Instruct"),
        ("ollama", "llama3"),
    ],
)
def test_a_price_that_nobody_knows_is_none_and_is_counted(
    provider: str, model: str, caplog: pytest.LogCaptureFixture
) -> None:
    book = prices()
    assert not book.knows(provider, model)
    assert [book.cost(provider, model, ONE) for _ in range(3)] == [None] * 3
    assert book.unpriced == {provider: 3}
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_the_mock_costs_nothing_and_needs_no_data() -> None:
    book = prices(read=never)
    assert book.cost("mock", "hello", ONE) == 0
    assert book.knows("mock", "hello")


def test_providers_without_published_prices_need_no_data() -> None:
    assert prices(read=never).cost("vllm", "m", ONE) is None


def test_the_operators_word_counts_before_everything() -> None:
    own = {
        "openai/gpt-4o": OwnPrice(1 * DOLLAR),
        "openai/gpt-4*": OwnPrice(2 * DOLLAR),
        "openai/*": OwnPrice(3 * DOLLAR),
        "ollama/*": OwnPrice(0, 0),
    }
    book = prices(own, read=never)
    asked = [book.cost("openai", name, ONE) for name in ("gpt-4o", "gpt-4o-mini", "o3")]
    assert asked == [1 * DOLLAR, 2 * DOLLAR, 3 * DOLLAR]
    assert book.cost("ollama", "llama3", Usage(5, 5)) == 0
    own_figure = Usage(1_000_000, cost_usd_nanos=7)
    assert book.cost("openai", "gpt-4o", own_figure) == 1 * DOLLAR
    assert book.cost("openai", "deployment", ONE, "gpt-4o") == 1 * DOLLAR


def test_the_upstreams_own_figure_counts_before_the_data() -> None:
    book = prices()
    assert book.cost("openai", "gpt-4o", Usage(1000, 1000, cost_usd_nanos=7)) == 7
    assert book.cost("openrouter", "never-heard-of", Usage(cost_usd_nanos=0)) == 0
    assert book.unpriced == {}


def test_an_answer_that_says_nothing_of_its_use_has_only_a_price_by_the_request() -> None:
    own = {"cohere/rerank-v3.5": OwnPrice(request_usd_nanos=2_000_000)}
    assert prices(own).cost("cohere", "rerank-v3.5", None) == 2_000_000
    assert prices().cost("openai", "gpt-4o", None) is None


def test_short_sounds_cost_what_the_shortest_costs_at_groq() -> None:
    book = prices()
    heard = [Usage(audio_ms=n) for n in (1, 10_000, 20_000)]
    short, ten, twenty = (book.cost("groq", "whisper-large-v3", each) or 0 for each in heard)
    assert short == ten
    assert 0 < ten < twenty


def test_a_cost_that_no_store_holds_is_none() -> None:
    assert prices().cost("openai", "gpt-4o", Usage(2**53, 2**53)) is None


def test_a_price_that_changes_is_looked_at_again() -> None:
    clock = Noon()
    book = Prices(data, clock)
    clock.at = 1_749_945_600_000_000  # at night, when DeepSeek cost less
    night = book.cost("deepseek", "deepseek-chat", ONE)
    clock.at += 9 * 3_600_000_000
    assert book.cost("deepseek", "deepseek-chat", ONE) != night


async def test_data_is_read_once_beside_the_loop_however_many_wait() -> None:
    threads: list[threading.Thread] = []

    def read() -> Data:
        threads.append(threading.current_thread())
        return data()

    book = prices(read=read)
    await asyncio.gather(*(book.ready("openai") for _ in range(20)))
    assert len(threads) == 1
    assert threads[0] is not threading.current_thread()
    assert book.cost("openai", "gpt-4o", ONE) is not None
    assert len(threads) == 1


async def test_who_gives_up_waiting_for_the_data_takes_it_from_nobody() -> None:
    go = threading.Event()

    def read() -> Data:
        go.wait(20)
        return data()

    book = prices(read=read)
    first, second = (asyncio.ensure_future(book.ready("openai")) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    go.set()
    await second
    assert book.knows("openai", "gpt-4o")


async def test_providers_without_published_prices_wait_for_nothing() -> None:
    await prices(read=never).ready("ollama")


def test_data_that_cannot_be_read_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> Data:
        raise BadPrices("no JSON")

    assert prices(read=broken).cost("openai", "gpt-4o", ONE) is None
    assert "costs are unknown" in caplog.text


def test_a_model_that_cannot_be_read_costs_no_call(caplog: pytest.LogCaptureFixture) -> None:
    raw = b'[{"id":"openai","models":[{"id":"m","match":{"equals":"m"},"prices":7}]}]'
    assert prices(read=lambda: Data(raw, "a test")).cost("openai", "m", ONE) is None
    assert "cannot be read" in caplog.text


def test_names_that_callers_make_up_do_not_pile_up() -> None:
    book = prices()
    for number in range(10_050):
        book.cost("ollama", f"m{number}", ONE)
    assert len(book._entries) <= 10_000
    assert len(book._told) == 100
