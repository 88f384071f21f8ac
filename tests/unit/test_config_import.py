"""A config.json of Bifrost's with every key of its published schema starts a gateway."""

import json
import re
from pathlib import Path

import pytest

from hermod.config import Loaded
from hermod.domain.errors import ConfigError
from hermod.domain.governance import Customer, ModelLimits, ProviderLimits, Team, VirtualKey
from tests.support.config import read
from tests.unit.test_config_documented import leaves, with_value

EXAMPLE = Path(__file__).parent / "examples" / "bifrost-full.json"
CONFIG: dict[str, object] = json.loads(EXAMPLE.read_text("utf-8"))
ENVIRON = {
    **dict.fromkeys(
        re.findall(r'"(?:env\.|env_var": ")(\w+)"', EXAMPLE.read_text("utf-8")), "a-secret-of-ours"
    ),
    "GCP_JSON": "{}",
    "VK_WEB": "sk-bf-11111111-2222-3333-4444-555555555555",
    "VK_BATCH": "sk-bf-22222222-2222-3333-4444-555555555555",
    "VK_PROFILED": "sk-bf-33333333-2222-3333-4444-555555555555",
}


def test_it_starts_and_no_key_is_unknown(tmp_path: Path) -> None:
    warnings = read(tmp_path, CONFIG, ENVIRON).warnings
    assert not [text for text in warnings if "unknown" in text]
    assert [text.split(": ", 1)[1] for text in warnings] == [
        "anybody on the way can read the key; prefer ca_cert_pem",
        "has no usable key: its jobs will fail until it has one",
        'vaults are not read, so this is empty: use "env.NAME"',
    ]


def test_everything_that_governs_is_there(tmp_path: Path) -> None:
    governance = read(tmp_path, CONFIG, ENVIRON).settings.governance
    assert [(type(each), each.id) for each in governance] == [
        (Customer, "c-acme"),
        (Customer, "c-globex"),
        (Customer, "c-initech"),
        (Team, "t-web"),
        (Team, "t-research"),
        (VirtualKey, "vk-web"),
        (VirtualKey, "vk-batch"),
        (VirtualKey, "vk-profiled"),
        (ModelLimits, "m-large"),
        (ModelLimits, "m-small"),
        (ProviderLimits, "openai"),
    ]
    limits = {each.budget.id for each in governance if each.budget}
    assert limits == {
        "b-customer", "b-owned-customer", "b-inline", "b-team", "b-owned-team", "b-key", "b-model",
        "b-owned-model", "b-provider",
    }  # fmt: skip


NAMES = ("base_provider_type", "id", "name")
"""Where one of these is wrong, nothing else of its object is looked at."""


def _shown(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)[1:]


def _is_reported(path: tuple[str | int, ...], loaded: Loaded) -> bool:
    shown = _shown(path)
    every = re.sub(r"\[\d+\]", "[*]", shown)
    return any(
        text == place or text.startswith((f"{place}.", f"{place}["))
        for place, _ in loaded.ignored
        for text in (shown, every)
    )


def _is_read(tmp_path: Path, path: tuple[str | int, ...]) -> bool:
    """What is acted on cannot be anything: another kind of value is refused."""
    with pytest.raises(ConfigError):
        read(tmp_path, with_value(CONFIG, path, [[1]]), ENVIRON)
    return True


def test_every_key_is_acted_on_or_reported_with_a_reason(tmp_path: Path) -> None:
    loaded = read(tmp_path, CONFIG, ENVIRON)
    assert all(reason for _, reason in loaded.ignored)
    rest = [
        path for path in leaves(CONFIG) if path[-1] != "$schema" and not _is_reported(path, loaded)
    ]
    broken: object = CONFIG
    for path in rest:
        if path[-1] not in NAMES:
            broken = with_value(broken, path, [[1]])
    # One look finds most of them; what hides behind another one's fault is looked at alone.
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, broken, ENVIRON)
    found = {text.split(" ")[1].removesuffix(":") for text in caught.value.problems}
    hidden = [path for path in rest if _shown(path) not in found]
    assert len(hidden) < len(rest) / 4
    assert all(_is_read(tmp_path, path) for path in hidden)


def test_the_older_place_of_the_login_must_not_say_otherwise(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="keep one of the two"):
        read(tmp_path, {**CONFIG, "auth_config": {"is_enabled": False}}, ENVIRON)
