"""`hermod keys`: virtual keys, made and changed at the machine."""

import os
import sys

import click

from hermod.cli.whereabouts import whereabouts


@click.group()
def keys() -> None:
    """Virtual keys: who may call, what, and for how much.

    They work on the database, beside gateways that run: these notice within a second. A key is
    named by its name or its id. Those of the config file are shown, and changed there.

    \b
    hermod keys create website --provider openai --budget 50/1M
    hermod keys list
    hermod keys token website --life 30d
    hermod keys revoke website
    """


@keys.command()
@click.argument("name")
@click.option(
    "--provider",
    "providers",
    metavar="P",
    multiple=True,
    help="May be given several times.  [default: every configured provider]",
)
@click.option("--models", metavar="A,B", default="*", help="Their names.  [default: all]")
@click.option("--budget", metavar="USD/PERIOD", help="Such as 10/1d.")
@click.option("--requests", metavar="N/PERIOD", help="Such as 100/1m.")
@click.option("--tokens", metavar="N/PERIOD", help="Such as 100000/1h.")
@click.option("--parallel", metavar="N", type=click.IntRange(1), help="Calls at once.")
@click.option("--pending", metavar="N", type=click.IntRange(1), help="Jobs not yet begun.")
@click.option("--expires", metavar="WHEN", help="Such as 30d, or 2030-01-31T00:00:00Z.")
@click.option(
    "--on-limit", type=click.Choice(("delay", "reject")), help="What becomes of what is too much."
)
@click.option("--team", metavar="T", help="Its name or id.")
@whereabouts
def create(as_json: bool, **wanted: object) -> None:
    """Make a key. Its value is shown this once, alone on standard output.

    Models are asked for as provider/model; of a key with one provider also without.
    """
    from hermod.cli import keys_run  # noqa: PLC0415 - none of it is loaded by a serve

    sys.exit(keys_run.create(wanted, os.environ, as_json=as_json))


@keys.command("list")
@whereabouts
def list_(as_json: bool, **flags: object) -> None:
    """Every key, and what is used of its limits in their present periods."""
    from hermod.cli import keys_run  # noqa: PLC0415

    sys.exit(keys_run.list_(flags, os.environ, as_json=as_json))


@keys.command()
@click.argument("name")
@whereabouts
def show(name: str, as_json: bool, **flags: object) -> None:
    """All about one key, but for its value."""
    from hermod.cli import keys_run  # noqa: PLC0415

    sys.exit(keys_run.show(flags, os.environ, name, as_json=as_json))


@keys.command()
@click.argument("name")
@click.option("--delete", is_flag=True, help="Remove it, with what it has used.")
@whereabouts
def revoke(name: str, delete: bool, as_json: bool, **flags: object) -> None:
    """Have a key be refused from now on. Its jobs that are not begun fail."""
    from hermod.cli import keys_run  # noqa: PLC0415

    sys.exit(keys_run.revoke(flags, os.environ, name, delete=delete, as_json=as_json))


@keys.command()
@click.argument("name")
@whereabouts
def rotate(name: str, as_json: bool, **flags: object) -> None:
    """Give a key another value, at once. Its tokens end with the old one; its jobs stay."""
    from hermod.cli import keys_run  # noqa: PLC0415

    sys.exit(keys_run.rotate(flags, os.environ, name, as_json=as_json))


@keys.command()
@click.argument("name")
@click.option("--life", metavar="TIME", help="Such as 12h.  [default: hermod.auth.token_life, 90d]")
@whereabouts
def token(name: str, life: str | None, as_json: bool, **flags: object) -> None:
    """A token (JWT) that stands for the key, signed by the gateway."""
    from hermod.cli import keys_run  # noqa: PLC0415

    sys.exit(keys_run.token(flags, os.environ, name, life, as_json=as_json))


@keys.group()
def signing() -> None:
    """The keys that the gateway's own tokens are signed with."""


@signing.command("rotate")
@whereabouts
def rotate_signing(as_json: bool, **flags: object) -> None:
    """Sign with a new key. Tokens of the last one stay good, those of the one before end."""
    from hermod.cli import keys_run  # noqa: PLC0415

    sys.exit(keys_run.rotate_signing(flags, os.environ, as_json=as_json))
