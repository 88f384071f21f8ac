"""The types of the documented fields of JSON bodies (wire-contract 1.5 to 1.15)."""

import pytest

from tests.kinds.minimal import BAD, BODIES, body_of, check, json_kind, refusal

OF_TYPE: dict[str, tuple[list[object], list[object]]] = {
    "boolean": ([True, False], ["true", 1, [], {}]),
    "integer": ([0, -5, 10**30, 10.0, 1e3], ["1", 1.5, True, [], {}]),
    "number": ([0, -2.5, 10**30, 1e300], ["1", True, [], {}]),
    "string": (["", "x", "\u0000\u2028😀"], [1, True, [], {}]),
    "object": ([{}, {"a": [1, None]}], ["x", 1, True, []]),
    "string[]": ([[], ["a", ""]], ["x", 1, {}, [1], [None], ["a", []]]),
    "string | string[]": (["", "x", [], ["a"]], [1, {}, True, [1], [None]]),
    "string | object": (["auto", {}, {"type": "any"}], [1, True, []]),
    "object[]": ([[], [{}, {"a": 1}]], ["x", 1, {}, ["x"], [None]]),
    "integer[]": ([[], [0, -1, 10**30]], ["x", 1, {}, ["x"], [1.5], [None], [True], [[1]], [[]]]),
    "string[] | object[]": (
        [[], ["openai/x", ""], [{"provider": "openai", "model": "x"}, {}]],
        ["x", 1, {}, [1], [None], ["a", {}], [{}, "a"], [{"model": 5}], [["a"]]],
    ),
}
"""For each type of the contract: what it takes, and what it does not."""

FIELDS: dict[str, dict[str, str]] = {
    "chat_completion": {
        "fallbacks": "string[]",
        "frequency_penalty": "number",
        "presence_penalty": "number",
        "temperature": "number",
        "top_p": "number",
        "logprobs": "boolean",
        "parallel_tool_calls": "boolean",
        "store": "boolean",
        "top_logprobs": "integer",
        "max_completion_tokens": "integer",
        "max_tokens": "integer",
        "seed": "integer",
        "reasoning_max_tokens": "integer",
        "reasoning_effort": "string",
        "prompt_cache_key": "string",
        "prompt_cache_retention": "string",
        "safety_identifier": "string",
        "service_tier": "string",
        "truncation": "string",
        "user": "string",
        "verbosity": "string",
        "logit_bias": "object",
        "metadata": "object",
        "prediction": "object",
        "reasoning": "object",
        "response_format": "object",
        "stream_options": "object",
        "web_search_options": "object",
        "audio": "object",
        "modalities": "string[]",
        "stop": "string | string[]",
        "tool_choice": "string | object",
        "tools": "object[]",
    },
    "text_completion": {
        "fallbacks": "string[]",
        "best_of": "integer",
        "logprobs": "integer",
        "max_tokens": "integer",
        "n": "integer",
        "seed": "integer",
        "echo": "boolean",
        "frequency_penalty": "number",
        "presence_penalty": "number",
        "temperature": "number",
        "top_p": "number",
        "logit_bias": "object",
        "stop": "string | string[]",
        "suffix": "string",
        "user": "string",
        "stream_options": "object",
        "prompt": "string | string[]",
    },
    "responses": {
        "fallbacks": "string[]",
        "background": "boolean",
        "parallel_tool_calls": "boolean",
        "store": "boolean",
        "conversation": "string | object",
        "instructions": "string",
        "previous_response_id": "string",
        "prompt_cache_key": "string",
        "safety_identifier": "string",
        "service_tier": "string",
        "truncation": "string",
        "user": "string",
        "include": "string[]",
        "max_output_tokens": "integer",
        "max_tool_calls": "integer",
        "top_logprobs": "integer",
        "metadata": "object",
        "reasoning": "object",
        "stream_options": "object",
        "temperature": "number",
        "top_p": "number",
        "text": "object",
        "tool_choice": "string | object",
        "tools": "object[]",
    },
    "embedding": {
        "fallbacks": "string[]",
        "encoding_format": "string",
        "dimensions": "integer",
    },
    "speech": {
        "fallbacks": "string[]",
        "stream_format": "string",
        "instructions": "string",
        "language_code": "string",
        "response_format": "string",
        "speed": "number",
        "pronunciation_dictionary_locators": "object[]",
        "enable_logging": "boolean",
        "optimize_streaming_latency": "boolean",
        "with_timestamps": "boolean",
    },
    "image_generation": {
        "fallbacks": "string[] | object[]",
        "n": "integer",
        "size": "string",
        "quality": "string",
        "style": "string",
        "response_format": "string",
        "background": "string",
        "moderation": "string",
        "partial_images": "integer",
        "output_compression": "integer",
        "output_format": "string",
        "user": "string",
        "negative_prompt": "string",
        "seed": "integer",
        "num_inference_steps": "integer",
        "input_images": "string[]",
        "aspect_ratio": "string",
    },
    "rerank": {
        "fallbacks": "string[]",
        "max_tokens_per_doc": "integer",
        "priority": "integer",
        "return_documents": "boolean",
    },
    "ocr": {
        "fallbacks": "string[]",
        "id": "string",
        "include_image_base64": "boolean",
        "include_blocks": "boolean",
        "extract_header": "boolean",
        "extract_footer": "boolean",
        "pages": "integer[]",
        "image_limit": "integer",
        "image_min_size": "integer",
        "table_format": "string",
        "document_annotation_prompt": "string",
        "confidence_scores_granularity": "string",
        "bbox_annotation_format": "object",
        "document_annotation_format": "object",
    },
}
"""The documented optional fields (and `prompt`) with their types."""

ROWS = [
    (request_type, field, type_) for request_type in FIELDS
    for field, type_ in FIELDS[request_type].items()
]  # fmt: skip


@pytest.mark.parametrize(("request_type", "field", "type_"), ROWS)
def test_a_documented_field_takes_its_type(request_type: str, field: str, type_: str) -> None:
    for value in OF_TYPE[type_][0]:
        check(request_type, **{field: value})


@pytest.mark.parametrize(("request_type", "field", "type_"), ROWS)
def test_a_documented_field_takes_nothing_else(request_type: str, field: str, type_: str) -> None:
    for value in OF_TYPE[type_][1]:
        message = refusal(request_type, **{field: value})
        assert message.startswith(BAD + "Expected `")
        assert f"$.{field}" in message


@pytest.mark.parametrize("request_type", FIELDS)
def test_every_optional_field_may_be_null(request_type: str) -> None:
    check(request_type, **{field: None for field in FIELDS[request_type] if field != "prompt"})


STREAM = {"text_completion", "chat_completion", "responses", "image_generation"}


@pytest.mark.parametrize("request_type", FIELDS)
def test_the_known_fields_are_the_documented_ones(request_type: str) -> None:
    documented = {*body_of(request_type), *FIELDS[request_type]}
    if request_type in STREAM:
        documented.add("stream")
    if request_type == "rerank":
        documented.add("top_n")
    assert json_kind(request_type).known_fields == documented


@pytest.mark.parametrize("request_type", sorted(STREAM))
@pytest.mark.parametrize("stream", ["true", 1, []])
def test_stream_is_a_boolean(request_type: str, stream: object) -> None:
    assert "$.stream" in refusal(request_type, stream=stream)


@pytest.mark.parametrize("top_n", ["1", 1.5, True, []])
def test_top_n_is_an_integer(top_n: object) -> None:
    assert "$.top_n" in refusal("rerank", top_n=top_n)


def test_every_json_kind_has_its_table() -> None:
    assert FIELDS.keys() == BODIES.keys()
