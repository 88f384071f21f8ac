"""`hermod`: with no command it serves."""

import os

import click

from hermod import __version__
from hermod.cli.doctor import doctor
from hermod.cli.keys import keys
from hermod.cli.mock_upstream import mock_upstream
from hermod.cli.prices import prices
from hermod.cli.providers import providers
from hermod.cli.secrets import secrets
from hermod.cli.serve import serve
from hermod.cli.torture import torture


class _ServeByDefault(click.Group):
    """A bare `hermod`, or one with only flags, is `hermod serve`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {"--help", "-h", "--version"}
        if not args or (
            args[0] not in self.commands and args[0].startswith("-") and args[0] not in own
        ):
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


main.add_command(serve)
main.add_command(doctor)
main.add_command(providers)
main.add_command(keys)
main.add_command(secrets)
main.add_command(mock_upstream)
main.add_command(prices)
main.add_command(torture)
