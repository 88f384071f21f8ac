"""`hermod providers`: what each provider can do, and which are configured."""

import os
import sys

import click


@click.command()
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
@click.option("--app-dir", metavar="DIR", help="As of hermod serve.  [default: ./hermod-data]")
@click.option("--config", metavar="FILE", help="[default: <app-dir>/config.json, if present]")
def providers(name: str | None, as_json: bool, **flags: object) -> None:
    """List what every provider can do, and which are configured; or show one, and how it is set up.

    Nobody is called. Names of keys and variables are shown, never their values.

    \b
    hermod providers
    hermod providers azure        addresses, keys, and what to write into config.json
    hermod providers --json
    """
    from hermod.cli.providers_list import show  # noqa: PLC0415 - none of it is loaded by a serve

    sys.exit(show(flags, os.environ, name=name, as_json=as_json))
