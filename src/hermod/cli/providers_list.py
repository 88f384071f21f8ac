"""What `hermod providers` shows."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import click

from hermod.config import Settings, load
from hermod.domain.errors import ConfigError
from hermod.domain.provider import Auth, KeySettings, ProviderSettings
from hermod.providers.capabilities import (
    REQUEST_TYPES,
    Served,
    example,
    mock_served,
    served,
    unconfigured,
)
from hermod.providers.model_lists import list_calls
from hermod.providers.registry import KNOWN_PROVIDERS, MOCK, load_rows

COLUMNS = dict(
    zip(
        REQUEST_TYPES,
        ["chat", "text", "resp", "emb", "tts", "stt", "img", "edit", "vary", "rank", "ocr"],
        strict=True,
    )
)
"""What the request types are called at the head of a narrow column."""
_NAME_MAX = 13
_AUTH = {
    Auth.BEARER: "Authorization: Bearer",
    Auth.X_API_KEY: "x-api-key",
    Auth.X_GOOG_API_KEY: "x-goog-api-key",
    Auth.API_KEY: "api-key",
    Auth.XI_API_KEY: "xi-api-key",
    Auth.AZURE: "api-key, or a token of Entra ID where the key has no value",
    Auth.AWS: "Authorization: Bearer, or a signature (SigV4) where the key has no value",
    Auth.GOOGLE: "x-goog-api-key, or a service account's token where the key has no value",
}


@dataclass(frozen=True)
class Listed:
    """A provider, configured or not."""

    name: str
    settings: ProviderSettings | None
    """None for the mock."""
    served: Mapping[str, Served]
    is_configured: bool

    @property
    def where(self) -> str:
        """What configured it."""
        if self.settings is None:
            return "built in" if self.is_configured else "switched off (hermod.mock)"
        return self.settings.origin if self.is_configured else ""

    @property
    def keys(self) -> tuple[KeySettings, ...]:
        """What it may be called with."""
        return self.settings.keys if self.settings is not None else ()

    def as_json(self) -> dict[str, object]:
        """Everything but secrets."""
        found: dict[str, object] = {
            "name": self.name,
            "configured": self.is_configured,
            "origin": self.where or None,
            "requests": {
                each: {"through": how.through, "streams": how.streams}
                for each, how in self.served.items()
            },
        }
        settings = self.settings
        if settings is None:
            return found
        row = settings.row
        return found | {
            "base_url": settings.base_url,
            "speaks": row.name,
            "auth": row.auth.value,
            "keyless": settings.keyless,
            "key_env": row.key_env,
            "url_env": row.url_env,
            "keys": [
                {
                    "name": key.name,
                    "enabled": key.enabled,
                    "usable": key.usable,
                    "weight": key.weight,
                    "models": sorted(key.models),
                    "blacklisted_models": sorted(key.blacklisted_models),
                    "aliases": dict(key.aliases),
                }
                for key in settings.keys
            ],
        }


def show(
    flags: Mapping[str, object], environ: Mapping[str, str], *, name: str | None, as_json: bool
) -> int:
    """All of them, or one; the exit code."""
    try:
        loaded = load(flags, environ, rows=load_rows(), known=KNOWN_PROVIDERS)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        return 1
    found = everything(loaded.settings)
    if name is not None:
        chosen = next((each for each in found if each.name == name.lower()), None)
        if chosen is None:
            known = " Its adapter comes in a later release." if name in KNOWN_PROVIDERS else ""
            click.echo(f"hermod providers: {name} is not known here.{known}", err=True)
            return 1
        click.echo(json.dumps(chosen.as_json(), indent=2) if as_json else _detail(chosen))
    elif as_json:
        click.echo(json.dumps([each.as_json() for each in found], indent=2))
    else:
        click.echo(matrix(found))
    return 0


def everything(settings: Settings) -> list[Listed]:
    """The mock, the operator's, and those of the table, by name."""
    compat = settings.client.compat
    rows = load_rows()
    names = sorted(rows.keys() | settings.providers.keys())
    found = [Listed(MOCK, None, mock_served(), settings.hermod.mock)]
    for name in names:
        each = settings.providers.get(name) or unconfigured(rows[name])
        can = served(
            each,
            text_to_chat=compat.convert_text_to_chat,
            chat_to_responses=compat.convert_chat_to_responses,
        )
        found.append(Listed(name, each, can, name in settings.providers))
    return found


def matrix(found: Iterable[Listed]) -> str:
    """One line each, within 80 columns."""
    found = list(found)
    yes, over, no, mark = "●○·✓" if _can_write("●○·✓…—") else "Xo.*"
    cut = "…" if yes == "●" else "~"
    head = "".join(f"{each:<5}" for each in COLUMNS.values())
    lines = [f"  {'':<{_NAME_MAX}} {head} keys"]
    for each in found:
        marks = [
            no if (how := each.served.get(name)) is None else over if how.through else yes
            for name in COLUMNS
        ]
        short = each.name
        if len(short) > _NAME_MAX:
            short = short[: _NAME_MAX - 1] + cut
        keys = str(len(each.keys)) if each.is_configured and each.settings is not None else ""
        row = "".join(f"{each:<5}" for each in marks)
        start = mark if each.is_configured else " "
        lines.append(f"{start} {short:<{_NAME_MAX}} {row} {keys:>4}".rstrip())
    configured = [f"{each.name} ({each.where})" for each in found if each.is_configured]
    names = [f"{short} {name}" for name, short in COLUMNS.items()]
    half = (len(names) + 1) // 2
    lines += [
        "",
        f"{yes} served   {over} translated to another type   {no} not offered   {mark} configured:",
        *(f"  {each}" for each in configured or ["none"]),
        "",
        *("  " + "   ".join(names[at : at + 4]) for at in range(0, 2 * half, 4)),
        "",
        "Models are written provider/model. More of one: hermod providers NAME",
    ]
    return "\n".join(line for line in lines if line.strip() or not line)


def _detail(each: Listed) -> str:
    as_it_is = [name for name, how in each.served.items() if not how.through]
    over = [f"{name} (as {how.through})" for name, how in each.served.items() if how.through]
    streams = [name for name, how in each.served.items() if how.streams]
    state = f"configured ({each.where})" if each.is_configured else "not configured"
    settings = each.settings
    about: dict[str, str] = {"state": state}
    if settings is not None:
        row = settings.row
        about["address"] = settings.base_url or "your resource's own"
        if settings.custom is not None:
            about["speaks like"] = row.name
        about["shows the key"] = _AUTH[row.auth]
        needs = "no key needed" if settings.keyless else ""
        about["variables"] = ", ".join(filter(None, (*row.key_env, *row.url_env, needs)))
        about["keys"] = "\n".join(map(_key, each.keys))
        lists = list_calls(settings, each.keys[0] if each.keys else None)
        about["model list"] = lists[0].url if lists else "none: name models in your keys"
    about["serves"] = ", ".join(as_it_is)
    about["translates"] = ", ".join(over)
    about["streams texts of"] = ", ".join(streams)
    lines = [each.name]
    for label, text in about.items():
        if text:
            lines += _folded(label, text)
    if settings is not None and settings.custom is None:
        lines += _how_to(settings)
    return "\n".join(lines)


def _key(key: KeySettings) -> str:
    state = "" if key.enabled else ", switched off"
    empty = "" if key.usable or not key.enabled else ", has no value"
    models = f", only {', '.join(sorted(key.models))}" if key.models else ""
    never = f", not {', '.join(sorted(key.blacklisted_models))}" if key.blacklisted_models else ""
    also = "".join(f", {name} = {called}" for name, called in key.aliases.items())
    return f"{key.name} (weight {key.weight:g}{state}{empty}{models}{never}{also})"


def _how_to(settings: ProviderSettings) -> list[str]:
    row = settings.row
    lines = [""]
    if row.url_env and (row.keyless or not row.base_url):
        usual = row.base_url or "https://my-resource.openai.azure.com"
        lines += [f"  export {row.url_env[0]}={usual}"]
    if row.key_env and not row.keyless:
        lines += [f"  export {row.key_env[0]}=…"]
    lines += ["", "  or in config.json:", ""]
    text = json.dumps({"providers": example(row)}, indent=2)
    return lines + [f"  {line}" for line in text.splitlines()]


def _folded(label: str, text: str) -> list[str]:
    """A text of several parts, broken between them; lines of its own stay as they are."""
    parts, lines = text.split(", "), [""]
    if label == "keys":
        lines = text.splitlines()
        parts = []
    for part in parts:
        if lines[-1] and len(lines[-1]) + len(part) > 58:
            lines[-1] += ","
            lines.append("")
        lines[-1] += f", {part}" if lines[-1] else part
    labels = [label, *[""] * len(lines)]
    return [f"  {first:<17}{line}" for first, line in zip(labels, lines, strict=False)]


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True
