"""The pages on providers say what the program does."""

import json
import re
from pathlib import Path

import pytest

from hermod.providers.registry import load_rows
from tests.docs.write_providers import PAGE, page
from tests.support.config import read

HOW_TO = (PAGE.parents[1] / "how-to" / "providers.md").read_text("utf-8")
SNIPPETS = re.findall(r"```json\n(.*?)```", HOW_TO, re.DOTALL)


def test_the_reference_is_made_from_the_table() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `make providers-doc`"


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_a_configuration_of_the_how_to_is_accepted_without_a_word(
    tmp_path: Path, snippet: str
) -> None:
    variables = re.findall(r'"env\.(\w+)"', snippet)
    loaded = read(tmp_path, snippet, dict.fromkeys(variables, '{"a": "service account"}'))
    assert (loaded.warnings, loaded.ignored) == ((), ())
    written = json.loads(snippet)["providers"]
    assert loaded.settings.providers.keys() == written.keys()
    assert all(
        any(key.usable for key in each.keys) or each.keyless
        for each in loaded.settings.providers.values()
    )


def test_every_provider_of_the_table_is_named_in_the_how_to() -> None:
    spelt = re.sub(r"[^a-z]", "", HOW_TO.lower())
    short = {"sgl": "sglang"}
    assert [name for name in load_rows() if short.get(name, name) not in spelt] == []
