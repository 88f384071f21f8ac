"""What is sent to Bedrock and what comes back, judged by AWS's own SDK: its model of the service
validates each recorded request and parses each recorded reply."""

import base64
import json
from typing import Any

import botocore.session
import pytest
from botocore.parsers import RestJSONParser
from botocore.utils import percent_encode
from botocore.validate import ParamValidator

from hermod.domain.failure import Failure
from tests.providers.recorded import Example, examples

RUNTIME = botocore.session.Session().get_service_model("bedrock-runtime")
CHATS = [
    each
    for each in examples()
    if each.provider == "bedrock" and each.kind.request_type == "chat_completion"
]
EVERY = [each for each in examples() if each.provider == "bedrock"]
chat = pytest.mark.parametrize("example", CHATS, ids=[each.case or "plain" for each in CHATS])
every = pytest.mark.parametrize(
    "example", EVERY, ids=[f"{each.kind.request_type}-{each.case}" for each in EVERY]
)


def operation(name: str) -> Any:
    return RUNTIME.operation_model(name)


def with_bytes(value: Any, shape: Any) -> Any:
    """The members as an SDK's user writes them: base64 becomes bytes."""
    if shape.type_name == "blob":
        return base64.b64decode(value, validate=True)
    if shape.type_name == "structure" and not shape.is_document_type:
        assert value.keys() <= shape.members.keys(), f"{shape.name}: {value.keys()}"
        if shape.is_tagged_union:
            assert len(value) == 1, shape.name
        return {name: with_bytes(each, shape.members[name]) for name, each in value.items()}
    if shape.type_name == "list":
        return [with_bytes(each, shape.member) for each in value]
    if shape.type_name == "map":
        return {name: with_bytes(each, shape.value) for name, each in value.items()}
    return value


@chat
@pytest.mark.parametrize("name", ["Converse", "ConverseStream"])
def test_the_request_is_valid_by_the_model_of_the_service(example: Example, name: str) -> None:
    shape = operation(name).input_shape
    body = json.loads(example.build().body)
    params = {**with_bytes(body, shape), "modelId": example.outgoing.model}
    report = ParamValidator().validate(params, shape)
    assert not report.has_errors(), report.generate_report()


@chat
def test_enumerated_values_are_the_services(example: Example) -> None:
    def walk(value: Any, shape: Any) -> None:
        if shape.type_name == "structure" and not shape.is_document_type:
            for name, each in value.items():
                walk(each, shape.members[name])
        elif shape.type_name == "list":
            for each in value:
                walk(each, shape.member)
        elif getattr(shape, "enum", None):
            assert value in shape.enum, f"{shape.name}: {value}"

    walk(json.loads(example.build().body), operation("Converse").input_shape)


@every
def test_the_model_is_escaped_as_the_sdk_does_it(example: Example) -> None:
    path = example.path_of(example.build())
    key = example.outgoing.key
    assert key is not None
    model = example.outgoing.model
    if key.bedrock is not None and key.bedrock.arn:
        model = f"{key.bedrock.arn}/{model}"
    assert path.split("/")[2] == percent_encode(model)
    assert len(path.split("/")) == 4


@chat
def test_the_recorded_reply_is_one_by_the_model_of_the_service(example: Example) -> None:
    status, _, body = example.reply
    shape = operation("Converse").output_shape
    told = {"status_code": status, "headers": {"content-type": "application/json"}, "body": body}
    parsed = RestJSONParser().parse(told, shape)
    found = example.read()
    if isinstance(found, Failure):
        assert parsed["Error"]["Code"] == found.error_type
        assert parsed["Error"]["Message"] == found.message
        return
    with_bytes(json.loads(body), shape)
    answer = json.loads(found.body)
    texts = [
        each.get("text") or "".join(c["text"] for c in each["citationsContent"]["content"])
        for each in parsed["output"]["message"]["content"]
        if "text" in each or "citationsContent" in each
    ]
    assert (answer["choices"][0]["message"]["content"] or "") == "".join(texts)
    usage = parsed["usage"]
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    assert answer["usage"]["prompt_tokens"] == usage["inputTokens"] + cached
    assert answer["usage"]["total_tokens"] == usage["totalTokens"]
