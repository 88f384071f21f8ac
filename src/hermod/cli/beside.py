"""Runs a command on the store of the settings, beside the gateways that use it."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import click

from hermod.administering import Administering
from hermod.cli.complaint import complaint
from hermod.clock import SystemClock
from hermod.config import Settings, load
from hermod.domain.errors import ConfigError, HermodError
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

BY: Final = "cli"
"""Who did it, in the audit."""


def settings_of(flags: Mapping[str, object], environ: Mapping[str, str]) -> Settings:
    """What `hermod serve` would run with; nothing will listen. Raises ConfigError."""
    # The rules for doors to other machines are for who opens one.
    given = {**flags, "host": "127.0.0.1"}
    return load(given, environ, rows=load_rows(), known=KNOWN_PROVIDERS).settings


def beside(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    act: Callable[[Administering], Awaitable[int]],
    *,
    makes: bool = False,
    change: Callable[[Settings], Settings] | None = None,
) -> int:
    """What `act` does and answers, as an exit code; 1, with a word of why, where it fails.

    Unless `makes`, an embedded database must be there. `change` makes other settings of what was
    read.
    """
    try:
        settings = settings_of(flags, environ)
        if change is not None:
            settings = change(settings)
        path = settings.database_path
        if not makes and path is not None and not path.exists():
            raise HermodError(
                f"there is no database at {path}: name its folder with --app-dir, or start one"
            )
        return asyncio.run(_within(settings, act))
    except ConfigError as error:
        click.echo("\n".join(error.problems), err=True)
    except (HermodError, OSError) as error:
        click.echo(f"hermod: {complaint(error)}", err=True)
    return 1


async def _within(settings: Settings, act: Callable[[Administering], Awaitable[int]]) -> int:
    desk = Administering(settings, SystemClock())
    try:
        await desk.open()
        return await act(desk)
    finally:
        await desk.close()
