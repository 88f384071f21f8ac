"""`hermod providers`: the list, one of it, and that what it tells to write is right."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hermod.providers.capabilities import example
from hermod.providers.registry import load_rows
from tests.support.config import read
from tests.support.program import HERMOD

SECRET = "sk-canary-1234567890"
CONFIG = {
    "client": {"compat": {"convert_text_to_chat": True}},
    "providers": {
        "anthropic": {
            "keys": [
                {"name": "main", "value": SECRET, "weight": 2, "models": ["claude-haiku-4-5"]},
                {"name": "spare", "value": "env.MISSING", "enabled": False},
            ]
        },
        "my-own-very-long-name": {
            "keys": [{"name": "mine", "value": SECRET}],
            "network_config": {"base_url": "https://llm.example/api"},
            "custom_provider_config": {
                "base_provider_type": "openai",
                "allowed_requests": {"chat_completion": True},
            },
        },
    },
}


def providers(app_dir: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
    """What it prints."""
    (app_dir / "config.json").write_text(json.dumps(CONFIG), "utf-8")
    done = subprocess.run(
        [str(HERMOD), "providers", "--app-dir", str(app_dir), *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=30,
        check=True,
        env={"PATH": os.environ["PATH"], **(environ or {})},
    )
    assert SECRET not in done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


def test_the_matrix_has_everybody_and_fits_a_terminal(tmp_path: Path) -> None:
    shown = providers(tmp_path, environ={"GROQ_API_KEY": SECRET})
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    rows = {line[2:15].strip(): line for line in lines[1 : lines.index("")]}
    assert load_rows().keys() | {"mock", "my-own-very-…"} == rows.keys()
    assert rows["mock"].split()[2:] == ["●"] * 11
    anthropic = rows["anthropic"].split()
    assert anthropic == ["✓", "anthropic", "●", "○", "○", *["·"] * 8, "2"]
    assert rows["groq"].startswith("✓")
    assert rows["openai"].startswith(" ")
    assert "  groq (GROQ_API_KEY)" in lines
    assert "  my-own-very-long-name (config.json)" in lines


def test_a_terminal_without_marks_gets_letters(tmp_path: Path) -> None:
    shown = providers(tmp_path, environ={"PYTHONIOENCODING": "ascii"})
    assert shown.isascii()
    assert "* anthropic     X    o    o" in shown


def test_the_same_as_json(tmp_path: Path) -> None:
    found: list[dict[str, Any]] = json.loads(providers(tmp_path, "--json"))
    by_name = {each["name"]: each for each in found}
    anthropic = by_name["anthropic"]
    assert anthropic["configured"] is True
    assert anthropic["origin"] == "config.json"
    assert anthropic["auth"] == "x-api-key"
    assert anthropic["requests"] == {
        "chat_completion": {"through": None, "streams": True},
        "text_completion": {"through": "chat_completion", "streams": True},
        "responses": {"through": "chat_completion", "streams": True},
    }
    assert [(key["name"], key["enabled"], key["usable"]) for key in anthropic["keys"]] == [
        ("main", True, True),
        ("spare", False, False),
    ]
    assert by_name["my-own-very-long-name"]["requests"].keys() == {"chat_completion"}
    assert by_name["openai"]["configured"] is False
    assert by_name["replicate"]["requests"]["chat_completion"]["streams"] is False


def test_one_of_them_in_full(tmp_path: Path) -> None:
    shown = providers(tmp_path, "anthropic")
    assert "configured (config.json)" in shown
    assert "https://api.anthropic.com" in shown
    assert "main (weight 2, only claude-haiku-4-5)" in shown
    assert "spare (weight 1, switched off)" in shown
    assert "responses (as chat_completion)" in shown
    assert "export ANTHROPIC_API_KEY=…" in shown


def test_an_unknown_one_is_an_error(tmp_path: Path) -> None:
    command = [str(HERMOD), "providers", "--app-dir", str(tmp_path), "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, "nobody is not known" in done.stderr) == (1, True)


@pytest.mark.parametrize("name", sorted(load_rows()))
def test_what_it_tells_to_write_is_accepted_without_a_word(tmp_path: Path, name: str) -> None:
    config = {"providers": example(load_rows()[name])}
    variables = ("VERTEX_CREDENTIALS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    environ = dict.fromkeys((*variables, *load_rows()[name].key_env), '{"a": "service account"}')
    loaded = read(tmp_path, config, environ)
    assert (loaded.warnings, loaded.ignored) == ((), ())
    assert loaded.settings.providers.keys() >= {name}
