"""`hermod torture`: random kills under load, and the verdict."""

import sys
from pathlib import Path
from typing import Any

import click

from hermod.torture.plan import Plan


@click.command()
@click.option("--jobs", default=Plan.jobs, show_default=True, type=click.IntRange(1))
@click.option("--kills", default=Plan.kills, show_default=True, type=click.IntRange(0))
@click.option(
    "--freezes",
    default=Plan.freezes,
    show_default=True,
    type=click.IntRange(0),
    help="Processes stopped for longer than their leases last, which are short then.",
)
@click.option("--gateways", type=click.IntRange(1), help="[default: 1; 2 on PostgreSQL]")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="With 0 the gateways run the jobs too.  [default: 0; 2 on PostgreSQL]",
)
@click.option(
    "--database", metavar="URL", help="A PostgreSQL of yours.  [default: SQLite, in a new folder]"
)
@click.option("--start-postgres", is_flag=True, help="Start a PostgreSQL, and kill it too.")
@click.option(
    "--postgres-bin",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Where its initdb and postgres are.  [default: on the PATH]",
)
@click.option(
    "--yes-use-this-database",
    is_flag=True,
    help="Although it holds jobs already. They must all have ended.",
)
@click.option("--seed", type=int, help="Of the dice.  [default: a new one]")
@click.option("--rate", default=Plan.rate, show_default=True, type=click.FloatRange(1, 5000))
@click.option(
    "--latency",
    help="Of the upstream: milliseconds, or lognormal:P50,P99.  [default: lognormal:60,400; "
    "lognormal:1000,5000 with --freezes]",
)
@click.option("--lease-s", type=click.FloatRange(1, 3600), help="[default: 30; 3 with --freezes]")
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep the evidence in this folder, which must be empty or new.",
)
@click.option(
    "--check",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="Start nothing; judge the evidence of an earlier run.",
)
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
def torture(check: Path | None, **flags: Any) -> None:
    """Kill Hermod at random while clients submit and read, and judge what they saw.

    Starts a mock upstream and Hermod as processes of its own. Nothing else on the machine is
    touched, and no provider is called. Exits with 0 when every promise was kept, 1 when one was
    broken, 2 when it could not run.

    \b
    hermod torture                                     SQLite, one process
    hermod torture --database postgresql://… --jobs 20000
    hermod torture --start-postgres                    kills the database too
    hermod torture --keep evidence; hermod torture --check evidence
    """
    from hermod.cli.torture_run import Asked, check_again, run_and_judge  # noqa: PLC0415 - below

    # None of it is loaded by a `hermod serve`.
    asked = Asked(**flags)
    sys.exit(run_and_judge(asked) if check is None else check_again(check, asked))
