"""A new request type is one file, its line in the registry, and one recorded example."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.kinds.twelfth.tree import HERE, SOURCE, environ, with_a_twelfth_kind

EXAMPLE = json.loads((HERE / "moderation.json").read_text("utf-8"))
PROGRAM = """
import json, sys
from hermod.domain.errors import Refused
from hermod.http.openapi.schemas import body_schema, result_schema
from hermod.kinds.registry import KIND_BY_PATH, KINDS
from hermod.providers.adapter import Outgoing
from hermod.providers.openai_shaped import build
from hermod.providers.replies import parse_reply

example = json.load(sys.stdin)
kind = KIND_BY_PATH["moderations"]

def refusal(**changes):
    try:
        kind.check(json.dumps(example["request"] | changes).encode(), {"openai"})
    except Refused as refused:
        return refused.failure.message

body = json.dumps(example["request"]).encode()
outgoing = Outgoing(body, None, example["sent"]["model"], True, "b")
outcome = parse_reply(
    kind, 200, "application/json", json.dumps(example["reply"]).encode(), None,
    provider="openai", model="m", latency_ms=1, now_at=0,
)
print(json.dumps({
    "file": sys.modules["hermod"].__file__,
    "types": [each.request_type for each in KINDS],
    "checked": kind.check(body, {"openai"}),
    "refusals": [refusal(input=None), refusal(input=5), refusal(model="x")],
    "sent": json.loads(build(kind, outgoing).body),
    "result": json.loads(outcome.body),
    "request_schema": body_schema(kind),
    "result_schema": result_schema(kind),
}))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source with the twelfth kind."""
    return with_a_twelfth_kind(tmp_path_factory.mktemp("twelfth"))


@pytest.fixture(scope="module")
def seen(copy: Path) -> dict[str, Any]:
    """What a program finds that runs on it."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(EXAMPLE),
        env={**os.environ, **environ(copy)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["file"] == str(copy / "__init__.py")
    return found


def test_one_file_is_new_and_the_registry_has_one_line_and_its_import(copy: Path) -> None:
    files = {path.relative_to(copy) for path in copy.rglob("*") if path.is_file()}
    ours = {
        path.relative_to(SOURCE)
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    changed = {path for path in ours if (copy / path).read_bytes() != (SOURCE / path).read_bytes()}
    registry = Path("kinds/registry.py")
    before = (SOURCE / registry).read_text("utf-8").splitlines()
    added = [line for line in (copy / registry).read_text("utf-8").splitlines()
             if line not in before]  # fmt: skip
    assert files - ours == {Path("kinds/moderation.py")}
    assert changed == {registry}
    assert added == ["from hermod.kinds.moderation import MODERATION", "    MODERATION,"]


def test_it_is_the_twelfth(seen: dict[str, Any]) -> None:
    assert len(seen["types"]) == 12
    assert seen["types"][-1] == "moderation"


def test_it_is_checked(seen: dict[str, Any]) -> None:
    assert seen["checked"] == ["openai", "omni-moderation-latest", False]
    missing, wrong, no_model = seen["refusals"]
    assert missing == "input is required for moderation"
    assert wrong.startswith("invalid request format: Expected `str | array<str> | null`")
    assert no_model == "model should be in provider/model format"


def test_its_recorded_example_is_sent_and_read(seen: dict[str, Any]) -> None:
    assert seen["sent"] == EXAMPLE["sent"]
    assert seen["result"].pop("extra_fields")["request_type"] == "moderation"
    assert seen["result"] == EXAMPLE["reply"]


def test_it_is_described(seen: dict[str, Any]) -> None:
    assert seen["request_schema"]["required"] == ["model", "input"]
    assert seen["result_schema"]["required"] == ["results", "extra_fields"]
