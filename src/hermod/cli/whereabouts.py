"""The options of commands that work on the store of the settings."""

from collections.abc import Callable
from typing import TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., object])


def whereabouts(command: _F) -> _F:
    """Where the store is, and whether the answer shall be JSON."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="The answer as JSON."),
        click.option("--database", metavar="URL", help="[default: <app-dir>/hermod.db]"),
        click.option("--config", metavar="FILE", help="[default: <app-dir>/config.json]"),
        click.option("--app-dir", metavar="DIR", help="As of serve.  [default: ./hermod-data]"),
    ):
        command = option(command)
    return command
