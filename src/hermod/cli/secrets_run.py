"""What `hermod secrets` does."""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import click

from hermod.administering import Administering, change_key, key_in_force
from hermod.cli.beside import BY, beside
from hermod.config import Settings
from hermod.domain import failpoint
from hermod.domain.errors import HermodError
from hermod.domain.provider import Secret
from hermod.governance.resealing import Tally
from hermod.vault import Sealing

Flags = Mapping[str, Any]
Environ = Mapping[str, str]
Change = Callable[[Settings], Settings]

_NOUNS: Final = {"provider": "providers", "signing_key": "signing keys", "job": "jobs"}
_SHOWN: Final = 10


def status(flags: Flags, environ: Environ, *, as_json: bool) -> int:
    """Say which key is in force, and what is sealed with it and with others."""

    async def act(desk: Administering) -> int:
        key, tally = key_in_force(desk.settings), await desk.resealing.look()
        if as_json:
            _print_json(tally, key=key)
        else:
            click.echo(f"key      {key}")
            _print(tally)
        return 0

    return beside(flags, environ, act)


def check(
    flags: Flags, environ: Environ, new_key_env: str | None, *, wait_s: float, as_json: bool
) -> int:
    """Count; 1 where an older key is needed."""
    del wait_s

    async def act(desk: Administering) -> int:
        tally = await desk.resealing.look()
        _print_json(tally) if as_json else _print(tally)
        return int(tally.of(Sealing.OLDER) > 0)

    return beside(flags, environ, act, change=_to_key_in(environ, new_key_env))


def rotate(
    flags: Flags, environ: Environ, new_key_env: str | None, *, wait_s: float, as_json: bool
) -> int:
    """Seal anew; 1 where something is left that an older key is needed for."""
    failpoint.enable(environ.get("HERMOD_FAILPOINTS", ""))

    async def act(desk: Administering) -> int:
        key_in_force(desk.settings)
        tally = await change_key(desk, BY, wait_s, lambda text: click.echo(text, err=True))
        if as_json:
            _print_json(tally, resealed=tally.resealed)
        else:
            click.echo(f"{tally.resealed} sealed anew")
            _print(tally)
        left = tally.of(Sealing.OLDER)
        if left:
            text = f"{left} still need an older key: somebody seals with it. Run this again."
            click.echo(text, err=True)
        return int(left > 0)

    return beside(flags, environ, act, change=_to_key_in(environ, new_key_env))


def _to_key_in(environ: Environ, name: str | None) -> Change | None:
    """The settings with the key of this variable, after the one that they have."""
    if name is None:
        return None

    def changed(settings: Settings) -> Settings:
        key = environ.get(name, "")
        if not key:
            raise HermodError(f"--new-key-env: the variable {name} is not set")
        previous = settings.encryption_key or settings.encryption_key_previous
        return replace(settings, encryption_key=Secret(key), encryption_key_previous=previous)

    return changed


def _print(tally: Tally) -> None:
    for what in sorted({what for what, _ in tally.secrets}):
        counts = {which: tally.secrets.get((what, which), 0) for which in Sealing}
        told = [f"{counts[Sealing.CURRENT]} sealed with the key in force"]
        told += [f"{n} with an older one" for n in [counts[Sealing.OLDER]] if n]
        told += [f"{n} that no key opens" for n in [counts[Sealing.UNKNOWN]] if n]
        click.echo(f"{_NOUNS.get(what, what):<13} {', '.join(told)}")
    if not tally.secrets:
        click.echo("nothing is sealed")
    for each in tally.unreadable[:_SHOWN]:
        click.echo(f"no key opens {each}", err=True)
    if len(tally.unreadable) > _SHOWN:
        click.echo(f"and {len(tally.unreadable) - _SHOWN} more", err=True)


def _print_json(tally: Tally, **more: object) -> None:
    kinds = sorted({what for what, _ in tally.secrets})
    secrets = {
        what: {which.value: tally.secrets.get((what, which), 0) for which in Sealing}
        for what in kinds
    }
    told = {**more, "secrets": secrets, "unreadable": list(tally.unreadable)}
    click.echo(json.dumps(told, indent=2))
