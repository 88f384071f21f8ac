"""`hermod secrets`: the key that secrets are sealed with, and its change."""

import os
import sys

import click

from hermod.cli.whereabouts import whereabouts


@click.group()
def secrets() -> None:
    """What is stored sealed: keys of providers, keys that tokens are signed with, jobs' secrets.

    The key they are sealed with is HERMOD_ENCRYPTION_KEY; without one, an embedded database has
    its own beside it. docs/how-to/secrets.md says how to change it while gateways run.
    """


@secrets.command()
@whereabouts
def status(as_json: bool, **flags: object) -> None:
    """Which key is in force, and how many secrets each key opens."""
    from hermod.cli import secrets_run  # noqa: PLC0415 - none of it is loaded by a serve

    sys.exit(secrets_run.status(flags, os.environ, as_json=as_json))


@secrets.command()
@click.option("--check", is_flag=True, help="Only count; 1 while an older key is needed.")
@click.option(
    "--new-key-env",
    metavar="NAME",
    help="The variable with the key to come; that in force counts as the one before.",
)
@click.option(
    "--wait",
    "wait_s",
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0, 3600),
    help="How long requests may be on their way, before the key file of an embedded database is "
    "removed that they were sealed with.",
)
@whereabouts
def rotate(
    check: bool, new_key_env: str | None, wait_s: float, as_json: bool, **flags: object
) -> None:
    """Seal everything with the key in force that an older one still opens.

    The older one is HERMOD_ENCRYPTION_KEY_PREVIOUS. An embedded database without an operator's key
    gets a new one first. May be stopped at any time, and be run again.
    """
    from hermod.cli import secrets_run  # noqa: PLC0415

    run = secrets_run.check if check else secrets_run.rotate
    sys.exit(run(flags, os.environ, new_key_env, wait_s=wait_s, as_json=as_json))
