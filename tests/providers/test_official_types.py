"""What we send and what we answer, judged by types that others wrote: openai's and mistralai's."""

import json
from typing import Any

import mistralai.client.models as mistral
import pytest
from openai.types import Completion, CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription
from openai.types.chat import ChatCompletion
from openai.types.responses import Response
from pydantic import BaseModel

from hermod.domain.failure import Failure
from tests.providers.recorded import Example, examples

ANSWERED = [each for each in examples() if "error" not in each.told]
TYPES: dict[str, type[BaseModel]] = {
    "chat_completion": ChatCompletion,
    "text_completion": Completion,
    "responses": Response,
    "embedding": CreateEmbeddingResponse,
    "transcription": Transcription,
    "image_generation": ImagesResponse,
    "image_edit": ImagesResponse,
    "image_variation": ImagesResponse,
}
OWN_WORDS = {
    "together/chat_completion.eos": "finish_reason eos",
    "deepseek/chat_completion.no-resources": "finish_reason insufficient_system_resource",
    "together/text_completion": "object text.completion",
    "perplexity/responses": "items of its own in output, usage without the details",
}
"""Answers that stay as they came although OpenAI has no such word. Its client reads them."""
STRICT = {"chat_completion", "text_completion", "responses"}


def name_of(example: Example) -> str:
    """As the file is named."""
    case = f".{example.case}" if example.case else ""
    return f"{example.provider}/{example.kind.request_type}{case}"


def answer_of(example: Example) -> Any:
    """The result of a job, but for `extra_fields`."""
    found = example.read()
    assert not isinstance(found, Failure)
    return json.loads(found.body)


def strictly(example: Example) -> bool:
    """Whether the vendor keeps to OpenAI's words."""
    return example.kind.request_type in STRICT and name_of(example) not in OWN_WORDS


@pytest.mark.parametrize("example", [each for each in ANSWERED if strictly(each)], ids=name_of)
def test_an_answer_is_one_of_openais(example: Example) -> None:
    TYPES[example.kind.request_type].model_validate(answer_of(example))


@pytest.mark.parametrize(
    "example", [each for each in ANSWERED if each.kind.request_type in TYPES], ids=name_of
)
def test_openais_client_finds_in_an_answer_what_it_is_for(example: Example) -> None:
    """Its client does not validate: it builds what it can, and keeps what it does not know."""
    answer = answer_of(example)
    built: Any = TYPES[example.kind.request_type].construct(**answer)
    match example.kind.request_type:
        case "chat_completion":
            message = built.choices[0].message
            assert message.content is not None or message.tool_calls or message.refusal
        case "text_completion":
            assert built.choices[0].text
        case "responses":
            assert built.output_text or any(item.type == "function_call" for item in built.output)
        case "embedding":
            assert built.data[0].embedding
        case "transcription":
            assert isinstance(built.text, str)
        case _:
            assert built.data[0].b64_json or built.data[0].url


def test_the_words_of_their_own_are_still_needed() -> None:
    names = {name_of(each) for each in ANSWERED}
    assert OWN_WORDS.keys() <= names


MISTRAL: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "chat_completion": (mistral.ChatCompletionRequest, mistral.ChatCompletionResponse),
    "embedding": (mistral.EmbeddingRequest, mistral.EmbeddingResponse),
    "ocr": (mistral.OCRRequest, mistral.OCRResponse),
    "speech": (mistral.SpeechRequest, mistral.SpeechResponse),
}


@pytest.mark.parametrize(
    "example",
    [each for each in ANSWERED if each.provider == "mistral" and each.kind.request_type in MISTRAL],
    ids=name_of,
)
def test_mistral_knows_every_field_that_it_is_sent(example: Example) -> None:
    """It refuses what it does not know, so a field too many is a failed job."""
    sent = json.loads(example.build().body)
    request, reply = MISTRAL[example.kind.request_type]
    request.model_validate(sent)
    known = {field.alias or name for name, field in request.model_fields.items()}
    assert sent.keys() <= known
    reply.model_validate(example.told["reply"]["body"])
