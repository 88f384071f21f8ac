"""`hermod doctor`: what would keep a gateway from working, in sentences."""

import os
import sys

import click


@click.command()
@click.option("--provider", metavar="NAME", help="Try the keys of this one, and nothing else.")
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, 600),
    help="How long each key may take.",
)
@click.option("--json", "as_json", is_flag=True, help="The findings as JSON.")
@click.option("--app-dir", metavar="DIR", help="As of hermod serve; so are the following.")
@click.option("--config", metavar="FILE")
@click.option("--database", metavar="URL")
@click.option("--host")
@click.option("--port", type=int)
def doctor(provider: str | None, timeout_s: float, as_json: bool, **flags: object) -> None:
    """Look at everything a gateway needs, and say what is wrong and what to do about it.

    The machine, the disk, the database, the configuration, the port, and every key of every
    provider, tried with a call that costs nothing. Nothing is started and nothing is changed; a
    gateway may be running.

    Reads what `hermod serve` reads: the same variables, the same config.json. Exits with 0 when
    all is well, 1 when there are only warnings (!), 2 when something does not work (✗).

    \b
    hermod doctor
    hermod doctor --provider openai
    hermod doctor --app-dir /var/lib/hermod --json
    """
    from hermod.cli.doctor_run import look  # noqa: PLC0415 - none of it is loaded by a serve

    sys.exit(look(flags, os.environ, provider, timeout_s=timeout_s, as_json=as_json))
