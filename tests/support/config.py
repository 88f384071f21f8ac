"""Reading settings from a made-up machine."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from hermod.config import Loaded, load
from hermod.domain.errors import ConfigError
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

ROWS = load_rows()
TOKEN = {"HERMOD_ADMIN_TOKEN": "a long secret of the operator"}


def read(
    app_dir: Path,
    config: object = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Loaded:
    """Load with this `config.json` in the app directory (an object, or its text)."""
    if config is not None:
        text = config if isinstance(config, str) else json.dumps(config)
        (app_dir / "config.json").write_text(text, "utf-8")
    given = {"app_dir": str(app_dir), **(flags or {})}
    return load(given, environ or {}, rows=ROWS, known=KNOWN_PROVIDERS)


def problems(
    app_dir: Path,
    config: object = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> list[str]:
    """What stops the start, without the directory in front of each place."""
    with pytest.raises(ConfigError) as caught:
        read(app_dir, config, environ, flags)
    return [text.replace(f"{app_dir}/", "") for text in caught.value.problems]
