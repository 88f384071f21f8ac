"""`hermod`: with no command it serves."""

import importlib
import os
from typing import Final

import click

from hermod import __version__

_COMMANDS: Final = (
    "serve", "doctor", "providers", "keys", "secrets", "mock-upstream", "prices", "torture",
)  # fmt: skip
"""Each is the command of its name in the module of its name. Only the one that runs is imported:
they all need more time for that than the quick ones for their work."""


class _ServeByDefault(click.Group):
    """A bare `hermod`, or one with only flags, is `hermod serve`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(f"hermod.cli.{name}"), name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if not args or (args[0].startswith("-") and args[0] not in own):
            args = ["serve", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_ServeByDefault, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hermod")
def main() -> None:
    """Hermod, a durable AI gateway for asynchronous inference.

    \b
    hermod                      the same as hermod serve
    hermod serve --port 9090
    hermod doctor               what is wrong, and what to do about it
    hermod providers            what each provider can do, and which are configured
    hermod keys create NAME     a virtual key; list, revoke, token …
    hermod secrets rotate       change the key that secrets are sealed with
    hermod mock-upstream        an OpenAI-shaped server that calls nobody
    hermod prices show openai/gpt-4o
    hermod torture              kill it at random under load, and judge what was promised
    """
    _open_standard_streams()


def _open_standard_streams() -> None:
    """Of streams that are closed, have none taken over by the next file or socket."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
