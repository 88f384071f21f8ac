"""providers/usage.py: what answers of every kind say of their use."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermod.domain.usage import Usage
from hermod.providers.anthropic import answer as anthropic_answer
from hermod.providers.gemini import usage as gemini_usage
from hermod.providers.usage import answer_usage, usage_in, usage_of

CASES: list[tuple[str, dict[str, Any], Usage | None]] = [
    (
        "chat",
        {
            "prompt_tokens": 10,
            "completion_tokens": 6,
            "total_tokens": 16,
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3, "audio_tokens": 1},
        },
        Usage(10, 6, 4, 0, 3, 2, 1),
    ),
    (
        "responses",
        {
            "input_tokens": 10,
            "output_tokens": 6,
            "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 5},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
        Usage(10, 6, 4, 5, 3),
    ),
    ("embeddings", {"prompt_tokens": 8, "total_tokens": 8}, Usage(8)),
    (
        "transcription, by tokens",
        {"type": "tokens", "input_tokens": 14, "input_token_details": {"audio_tokens": 14}},
        Usage(14, input_audio_tokens=14),
    ),
    ("transcription, by time", {"type": "duration", "seconds": 9.25}, Usage(audio_ms=9250)),
    (
        "transcription of Mistral",
        {"prompt_audio_seconds": 203, "prompt_tokens": 4, "completion_tokens": 635},
        Usage(4, 635, audio_ms=203_000),
    ),
    (
        "images",
        {
            "input_tokens": 300,
            "output_tokens": 272,
            "input_tokens_details": {"text_tokens": 50, "image_tokens": 250},
        },
        Usage(300, 272, input_image_tokens=250),
    ),
    ("rerank", {"prompt_tokens": 0, "total_tokens": 0}, Usage()),
    (
        "xAI, whose thoughts are counted beside",
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 115,
            "completion_tokens_details": {"reasoning_tokens": 100},
            "cost_in_usd_ticks": 37_756_001,
        },
        Usage(10, 105, reasoning_tokens=100, cost_usd_nanos=3_775_601),
    ),
    ("images of xAI", {"cost_in_usd_ticks": 200_000_000}, Usage(cost_usd_nanos=20_000_000)),
    ("OpenRouter", {"prompt_tokens": 1, "cost": 0.00014}, Usage(1, cost_usd_nanos=140_000)),
    (
        "Perplexity",
        {
            "input_tokens": 9,
            "output_tokens": 2,
            "input_tokens_details": {"cache_read_input_tokens": 3},
            "cost": {"currency": "USD", "input_cost": 0.001, "total_cost": 0.00612},
        },
        Usage(9, 2, 3, cost_usd_nanos=6_120_000),
    ),
    ("DeepSeek", {"prompt_tokens": 9, "prompt_cache_hit_tokens": 5}, Usage(9, 0, 5)),
    (
        "Bifrost",
        {
            "prompt_tokens": 9,
            "prompt_tokens_details": {"cached_read_tokens": 3, "cached_write_tokens": 2},
        },
        Usage(9, 0, 3, 2),
    ),
    (
        "details of another type",
        {"prompt_tokens": 9, "completion_tokens": "x", "prompt_tokens_details": [], "cost": "?"},
        Usage(9),
    ),
    ("numbers that are none", {"prompt_tokens": -1, "completion_tokens": 2**70}, Usage()),
    ("nothing", {}, None),
    ("something else", {"characters": 12}, None),
]


@pytest.mark.parametrize(
    ("told", "usage"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_every_kind_of_answer_tells_its_use(told: dict[str, Any], usage: Usage | None) -> None:
    assert usage_in(told) == usage
    assert usage_of(msgspec.Raw(json.dumps(told).encode())) == usage


@pytest.mark.parametrize("raw", ["null", "[]", "7", '"usage"', "{", "1e999"])
def test_what_is_no_usage_tells_nothing(raw: str) -> None:
    assert usage_of(msgspec.Raw(raw.encode())) is None


def answer(**members: object) -> dict[str, msgspec.Raw]:
    """The members of an answer."""
    return {name: msgspec.Raw(msgspec.json.encode(value)) for name, value in members.items()}


def test_documents_are_counted_in_pages() -> None:
    info = {"pages_processed": 3, "doc_size_bytes": 900}
    assert answer_usage(answer(pages=[], usage_info=info)) == Usage(pages=3)
    described = answer(pages=[], usage_info=info, document_annotation="{}")
    assert answer_usage(described) == Usage(pages=3, annotated_pages=3)
    plain = answer(pages=[], usage_info=info, document_annotation=None)
    assert answer_usage(plain) == Usage(pages=3)


def test_a_transcript_tells_how_long_the_sound_is() -> None:
    assert answer_usage(answer(text="hi", duration=2.5)) == Usage(audio_ms=2500)
    both = answer(text="hi", duration=2.5, usage={"type": "duration", "seconds": 3})
    assert answer_usage(both) == Usage(audio_ms=3000)
    assert answer_usage(answer(text="hi", duration="2.5")) is None
    assert answer_usage(answer(text="hi")) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
NAMES = sorted({name for _, told, _ in CASES for name in told})


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_json_is_read_and_what_is_read_fits_into_a_store(told: dict[str, Any]) -> None:
    usage = usage_in(told)
    assert usage is None or all(value is None or 0 <= value < 2**63 for value in usage)


def test_gemini_counts_images_and_sound_apart() -> None:
    told = {
        "promptTokenCount": 300,
        "candidatesTokenCount": 1290,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 42},
            {"modality": "IMAGE", "tokenCount": 258},
        ],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
    }
    usage = gemini_usage.usage_in({"usageMetadata": told})
    assert usage == Usage(300, 1290, input_image_tokens=258, output_image_tokens=1290)


def test_anthropic_says_what_stays_in_the_cache_for_an_hour() -> None:
    told = {
        "input_tokens": 10,
        "output_tokens": 1,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
    }
    usage = Usage(17, 1, cache_write_tokens=7, cache_write_1h_tokens=4)
    assert anthropic_answer.usage_of(told) == usage


whole = st.integers(-1, 9) | st.sampled_from([2**53, 2**53 + 1, 2**70, 1.0, 1.5, True, None, "1"])
details = st.dictionaries(st.sampled_from(["cached_tokens", "audio_tokens"]), whole)
thoughts = st.dictionaries(st.sampled_from(["reasoning_tokens", "audio_tokens"]), whole)
usual = st.fixed_dictionaries(
    {},
    optional={
        "prompt_tokens": whole,
        "completion_tokens": whole,
        "total_tokens": whole,
        "prompt_tokens_details": details | st.none(),
        "completion_tokens_details": thoughts | st.none(),
    },
)


@given(usual)
def test_the_short_way_for_the_usual_words_reads_what_the_long_one_reads(
    told: dict[str, Any],
) -> None:
    assert usage_of(msgspec.Raw(json.dumps(told).encode())) == usage_in(told)
