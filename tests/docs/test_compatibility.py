"""The table of what is like Bifrost names tests; they must be there."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGES = TESTS.parent / "docs" / "reference"


def test_every_test_that_the_table_names_exists() -> None:
    page = (PAGES / "bifrost-compatibility.md").read_text("utf-8")
    legend = dict(re.findall(r"\| `(\w+)` \| `([\w/]+\.py)`", page))
    named = re.findall(r"`([\w/.]+)::(test_\w+)`", page)
    assert len(named) > 50
    missing: list[str] = []
    for short, test in named:
        file = TESTS / legend.get(short, short).removeprefix("tests/")
        if not file.is_file() or f"def {test}(" not in file.read_text("utf-8"):
            missing.append(f"{short}::{test}")
    assert missing == []
