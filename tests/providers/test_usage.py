"""What answers say of their tokens, in each vendor's words."""

import json

import msgspec
import pytest

from hermod.domain.usage import Usage
from hermod.providers.adapter import Answered
from hermod.providers.usage import usage_of
from tests.providers.recorded import Example, examples


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (
            {"prompt_tokens": 9, "completion_tokens": 2, "cost": 0.000123},
            Usage(9, 2, cost_usd_nanos=123_000),
        ),
        (
            {"input_tokens": 9, "output_tokens": 2, "cost": {"currency": "USD", "total_cost": 0.5}},
            Usage(9, 2, cost_usd_nanos=500_000_000),
        ),
        ({"prompt_tokens": 9, "cost": {"currency": "USD"}}, Usage(9)),
        (
            {
                "input_tokens": 9,
                "output_tokens": 2,
                "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
            },
            Usage(9, 2, cache_read_tokens=4, cache_write_tokens=3),
        ),
        (
            {
                "input_tokens": 9,
                "input_tokens_details": {
                    "cache_read_input_tokens": 4,
                    "cache_creation_input_tokens": 3,
                },
            },
            Usage(9, cache_read_tokens=4, cache_write_tokens=3),
        ),
        ({"prompt_tokens": "many"}, None),
        ([], None),
    ],
)
def test_tokens_are_found_in_each_vendors_words(said: object, found: Usage | None) -> None:
    assert usage_of(msgspec.Raw(json.dumps(said).encode())) == found


def is_openais_chat(example: Example) -> bool:
    """Whether it is an answered chat with a provider of OpenAI's dialect."""
    answered = example.kind.request_type == "chat_completion" and "error" not in example.told
    return answered and example.dialect.name == "openai"


@pytest.mark.parametrize(
    "example",
    [each for each in examples() if is_openais_chat(each)],
    ids=lambda each: f"{each.provider}{each.case and '.'}{each.case}",
)
def test_every_recorded_chat_is_metered(example: Example) -> None:
    found = example.read()
    assert isinstance(found, Answered)
    assert found.usage is not None
    assert found.usage.input_tokens > 0
