"""Every provider, every request type it offers: what is sent, and what its answer becomes."""

import json
from typing import Any

import pytest

from hermod.domain.failure import Failure
from hermod.kinds.kind import JsonKind
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.registry import load_rows
from tests.providers.recorded import Example, examples, parts_of

EXAMPLES = examples()
each = pytest.mark.parametrize(
    "example",
    EXAMPLES,
    ids=[f"{e.provider}-{e.kind.request_type}{e.case and '.'}{e.case}" for e in EXAMPLES],
)
OFFERED = [(name, kind) for name, row in load_rows().items() for kind in sorted(row.paths)]


def expected_body(example: Example) -> Any:
    """What is sent: where a file says nothing of it, what was asked."""
    asked = {**example.told["asked"], "model": example.outgoing.model}
    return example.told["sent"].get("body", asked)


def expected_answer(example: Example) -> Any:
    """What the reply becomes: where a file says nothing of it, it stays as it is."""
    return example.told.get("answer", example.told["reply"].get("body"))


@pytest.mark.parametrize(("provider", "request_type"), OFFERED)
def test_every_offered_request_type_has_a_recorded_call(provider: str, request_type: str) -> None:
    assert any(e.provider == provider and e.kind.request_type == request_type for e in EXAMPLES)


@each
def test_its_format_is_somebody_elses_and_says_whose(example: Example) -> None:
    assert example.provider in load_rows()
    assert len(example.told["source"]) > 10


@each
def test_the_request_passes_the_check_of_its_kind(example: Example) -> None:
    kind = example.kind
    model = f"{example.provider}/{example.told['model']}"
    if isinstance(kind, JsonKind):
        body = json.dumps({**example.told["asked"], "model": model}).encode()
        checked = kind.check(body, {example.provider})
        assert (checked.provider, checked.model) == (example.provider, example.told["model"])


@each
def test_the_request_is_sent_as_recorded(example: Example) -> None:
    prepared = example.build()
    sent = example.told["sent"]
    assert example.path_of(prepared) == sent["path"]
    for name, value in sent.get("headers", {}).items():
        assert dict(prepared.headers)[name] == value
    if "fields" not in sent:
        assert prepared.content_type == "application/json"
        assert json.loads(prepared.body) == expected_body(example)
    else:
        expected = {"fields": sent.get("fields", {}), "files": sent.get("files", {})}
        assert parts_of(prepared.body, prepared.content_type) == expected


@each
def test_the_reply_becomes_what_is_recorded(example: Example) -> None:
    found = example.read()
    if "error" in example.told:
        assert isinstance(found, Failure)
        for member, value in example.told["error"].items():
            assert getattr(found, member) == value
    else:
        assert not isinstance(found, Failure), found
        assert json.loads(found.body) == expected_answer(example)


def test_every_example_is_of_a_known_kind() -> None:
    assert {example.kind.request_type for example in EXAMPLES} <= KIND_BY_TYPE.keys()
