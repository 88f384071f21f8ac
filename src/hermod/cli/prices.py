"""`hermod prices`: what models cost, and newer data on request."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Final, NoReturn

import click

from hermod import __version__
from hermod.cli.complaint import complaint
from hermod.clock import SystemClock
from hermod.config import Settings, load
from hermod.domain.errors import ConfigError
from hermod.prices.names import bases_of
from hermod.prices.prices import Known, Prices
from hermod.prices.rates import NANOS, Rates
from hermod.prices.refresh import RefreshFailed, fetch_prices, published_at
from hermod.prices.stored import FILE, current_prices, store_prices
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

_SHOWN: Final = (
    ("input", 1_000_000, "a million tokens of input"),
    ("cache_read", 1_000_000, "a million of these from a cache"),
    ("cache_write", 1_000_000, "a million of these written to a cache"),
    ("cache_write_1h", 1_000_000, "a million of these, kept there for an hour"),
    ("input_audio", 1_000_000, "a million of these of sound"),
    ("input_image", 1_000_000, "a million of these of images"),
    ("output", 1_000_000, "a million tokens of output"),
    ("reasoning", 1_000_000, "a million of these in thought"),
    ("output_audio", 1_000_000, "a million of these of sound"),
    ("output_image", 1_000_000, "a million of these of images"),
    ("audio_ms", 3_600_000, "an hour of sound listened to"),
    ("page", 1000, "a thousand pages"),
    ("annotated_page", 1000, "a thousand pages, described as well"),
    ("request", 1000, "a thousand requests"),
)
"""Of `Rates`: how many are shown as one, and their name for people."""
_USUAL: Final = {
    "cache_read": "input",
    "cache_write": "input",
    "cache_write_1h": "cache_write",
    "input_audio": "input",
    "input_image": "input",
    "reasoning": "output",
    "output_audio": "output",
    "output_image": "output",
    "annotated_page": "page",
}
"""What costs as much as something else is not shown."""


@click.group()
def prices() -> None:
    """What models cost. Nothing is fetched but by `hermod prices refresh`."""


@prices.command()
@click.argument("model", metavar="PROVIDER/MODEL")
@click.option("--app-dir", metavar="DIR", help="Where data lives.  [default: ./hermod-data]")
@click.option("--config", metavar="FILE", help="[default: <app-dir>/config.json, if present]")
def show(model: str, **flags: object) -> None:
    """What is known of a model's price, and from where.

    Exits with 1 when nothing is known: such calls are counted, and show no cost.
    """
    provider, slash, name = model.partition("/")
    if not (provider and slash and name):
        raise click.UsageError("a model is named provider/model, such as openai/gpt-4o")
    settings = _settings(flags)
    book = Prices(
        lambda: current_prices(settings.app_dir),
        SystemClock(),
        settings.prices,
        bases_of(settings.providers.values()),
    )
    known = book.known(provider, name)
    if known is None:
        _fail(f"{model}: its price is not known. hermod.prices in the configuration can tell it.")
    click.echo("\n".join((f"{model}: {known.model}, {known.source}", *_lines(known))))


@prices.command()
@click.option("--app-dir", metavar="DIR", help="Where data lives.  [default: ./hermod-data]")
@click.option("--config", metavar="FILE", help="[default: <app-dir>/config.json, if present]")
@click.option("--url", help="Where to fetch from.  [default: where genai-prices is published]")
def refresh(url: str | None, **flags: object) -> None:
    """Fetch the newest price data, for the next start of the gateway.

    It is used until the built-in data changes with an upgrade.
    """
    app_dir: Path = _settings(flags).app_dir
    try:
        raw, models = asyncio.run(
            fetch_prices(url or published_at(), user_agent=f"hermod/{__version__}")
        )
        path = store_prices(app_dir, raw, SystemClock().now())
    except (RefreshFailed, OSError) as error:
        _fail(f"{complaint(error)}. {app_dir / FILE} is as it was.")
    click.echo(f"{models} models in {path}. Gateways use it from their next start.")


def _settings(flags: dict[str, object]) -> Settings:
    try:
        return load(flags, os.environ, rows=load_rows(), known=KNOWN_PROVIDERS).settings
    except ConfigError as error:
        _fail("\n".join(error.problems))


def _fail(text: str) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(1)


def _lines(known: Known) -> list[str]:
    lines: list[str] = []
    for above, rates in known.tiers.steps():
        if above:
            lines.append(f"  with more than {above} tokens of input:")
        lines += _prices_in(rates)
    return lines


def _prices_in(rates: Rates) -> list[str]:
    lines: list[str] = []
    for name, many, words in _SHOWN:
        rate = getattr(rates, name)
        usual = _USUAL.get(name)
        priced = getattr(rates, f"{name}_is_priced", True)
        if priced and (usual is None or rate != getattr(rates, usual)):
            lines.append(f"  {rate * many / rates.per / NANOS:>12.6g} $ for {words}")
    return lines
