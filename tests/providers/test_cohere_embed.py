"""Embeddings in Cohere's dialect."""

import base64
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CreateEmbeddingResponse

from hermod.domain.failure import Failure
from hermod.domain.usage import Usage
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapter import Answered, CannotCarry, Outgoing
from hermod.providers.cohere import embed as cohere_embed
from tests.providers.any_json import any_json

EMBEDDING = KIND_BY_TYPE["embedding"]
PICTURE = "data:image/png;base64,iVBORw0KGgo="


def outgoing(given: object, **more: Any) -> Outgoing:
    body = json.dumps({"model": "cohere/embed-v4.0", "input": given} | more).encode()
    return Outgoing(body, None, "embed-v4.0", True, "")


def sent(given: object, **more: Any) -> dict[str, Any]:
    return json.loads(cohere_embed.build(EMBEDDING, outgoing(given, **more)).body)


def read(reply: object, given: object = "one", **more: Any) -> Answered | Failure:
    body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
    return cohere_embed.read(EMBEDDING, outgoing(given, **more), "application/json", body)


def answer(reply: object, given: object = "one", **more: Any) -> dict[str, Any]:
    found = read(reply, given, **more)
    assert isinstance(found, Answered), found
    return json.loads(found.body)


def test_a_text_is_a_document_unless_the_caller_says_otherwise() -> None:
    assert sent("one")["texts"] == ["one"]
    assert sent("one")["input_type"] == "search_document"
    assert sent("one", input_type="search_query")["input_type"] == "search_query"


def test_images_alone_go_the_way_that_every_model_knows() -> None:
    body = sent([PICTURE, PICTURE])
    assert body["images"] == [PICTURE, PICTURE]
    assert body["input_type"] == "image"
    assert "texts" not in body


def test_coheres_own_members_stand_in_for_an_empty_input() -> None:
    body = sent("", images=[PICTURE])
    assert body["images"] == [PICTURE]
    assert body["input_type"] == "image"
    assert "texts" not in body
    with pytest.raises(CannotCarry):
        sent("one", images=[PICTURE])


@pytest.mark.parametrize("given", [[1, 2], [[1], [2]]])
def test_tokens_are_refused(given: object) -> None:
    with pytest.raises(CannotCarry) as caught:
        sent(given)
    assert caught.value.param == "input"


def test_vectors_keep_their_digits() -> None:
    found = read(b'{"embeddings":{"float":[[0.10000000000000000001,1e-7]]}}')
    assert isinstance(found, Answered)
    assert b"[0.10000000000000000001,1e-7]" in found.body


def test_base64_is_of_small_floats_with_the_lowest_byte_first() -> None:
    reply = {"embeddings": {"float": [[1.5, -2.0]]}}
    vector = answer(reply, encoding_format="base64")["data"][0]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(vector)) == (1.5, -2.0)


def test_vectors_of_another_type_come_as_they_are() -> None:
    found = answer({"embeddings": {"int8": [[1, -2]]}}, embedding_types=["int8"])
    assert found["data"][0]["embedding"] == [1, -2]


def test_vectors_of_several_types_stand_side_by_side() -> None:
    reply = {"embeddings": {"int8": [[1]], "float": [[0.5]]}}
    item = answer(reply)["data"][0]
    assert item["embedding"] == [0.5]
    assert item["embeddings"] == {"float": [0.5], "int8": [1]}


def test_openais_types_take_the_answer() -> None:
    reply = {
        "id": "e",
        "embeddings": {"float": [[0.5], [1]]},
        "meta": {"billed_units": {"input_tokens": 3.0}},
    }
    found = read(reply, ["a", "b"])
    assert isinstance(found, Answered)
    whole = CreateEmbeddingResponse.model_validate_json(found.body)
    assert [each.index for each in whole.data] == [0, 1]
    assert whole.usage.prompt_tokens == 3
    assert found.usage == Usage(3)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"embeddings": {}},
        {"embeddings": {"float": []}},
        {"embeddings": {"float": [[1], [2]]}},
        {"embeddings": {"float": "x"}},
        {"embeddings": [[1]]},
        {"message": "no such model"},
    ],
)
def test_what_has_not_a_vector_for_each_input_is_no_answer(reply: object) -> None:
    assert isinstance(read(reply), Failure)


def test_numbers_that_no_small_float_holds_are_no_answer() -> None:
    assert isinstance(read({"embeddings": {"float": [[1e300]]}}, encoding_format="base64"), Failure)


@given(any_json("embeddings float int8 base64 meta billed_units id texts"), st.booleans())
def test_no_reply_makes_it_raise(reply: object, packed: bool) -> None:
    form = "base64" if packed else "float"
    for each in (reply, {"embeddings": reply}, {"embeddings": {"float": reply}, "meta": reply}):
        read(each, encoding_format=form)


@given(st.binary())
def test_no_bytes_make_it_raise(body: bytes) -> None:
    read(body)
