"""`hermod serve`."""

import logging
import os
import sys

import click

from hermod import __version__, service
from hermod.cli.complaint import complaint
from hermod.config import Loaded, load
from hermod.domain.errors import ConfigError, StoreError
from hermod.logs import set_up_logging
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

log = logging.getLogger(__name__)


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 takes a free one.  [default: 8080]")
@click.option("--base-path", metavar="/PREFIX", help="Serve the whole API under this path.")
@click.option("--app-dir", metavar="DIR", help="Where data lives.  [default: ./hermod-data]")
@click.option("--config", metavar="FILE", help="[default: <app-dir>/config.json, if present]")
@click.option("--database", metavar="URL", help="[default: sqlite:///<app-dir>/hermod.db]")
@click.option("--role", help="all, api or worker.  [default: all]")
@click.option("--processes", type=int, help="[default: 1]")
@click.option("--log-level", help="debug, info, warning or error.  [default: info]")
def serve(**flags: object) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Every flag can also be set as HERMOD_<FLAG> (HERMOD_PORT=9090); a flag wins over the
    environment, the environment over the file. SIGTERM drains: running jobs finish or are given
    back, nothing is lost.
    """
    try:
        loaded = load(flags, os.environ, rows=load_rows(), known=KNOWN_PROVIDERS)
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        count = len(error.problems)
        click.echo(f"{count} problem{'s' * (count > 1)}. Nothing was started.", err=True)
        sys.exit(1)
    set_up_logging(loaded.settings.log_level)
    for warning in loaded.warnings:
        log.warning("%s", warning)
    for ignored in loaded.ignored:
        log.warning("%s is ignored: %s", ignored.place, ignored.reason)
    try:
        service.run(loaded.settings, lambda running: click.echo(banner(loaded, running)))
    except (StoreError, OSError) as error:
        click.echo(f"hermod: {complaint(error)}", err=True)
        sys.exit(2)


def banner(loaded: Loaded, running: service.Service) -> str:
    """What a person wants to know first. Names of keys and variables, never values."""
    settings = loaded.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{running.port}{settings.base_path}"
    providers = ["mock (always on)"] if settings.hermod.mock else []
    providers += [f"{each.name} ({each.origin})" for each in settings.providers.values()]
    access = "open (loopback only)" if settings.loopback else "bearer token HERMOD_ADMIN_TOKEN"
    body = '{"model":"mock/hello","messages":[{"role":"user","content":"hi"}]}'
    token = "" if settings.loopback else '-H "Authorization: Bearer $HERMOD_ADMIN_TOKEN" '
    slots = settings.hermod.worker_slots
    return "\n".join(
        (
            "",
            f"  hermod {__version__}   {running.store.name} at {settings.database_path}",
            f"  listening  {url}   (calls in flight per provider: {slots})",
            f"  providers  {', '.join(providers) or 'none: no job can be answered'}",
            f"  access     {access}",
            f"  health     {url}/health   metrics {url}/metrics   API {url}/openapi.json",
            "",
            "  submit     curl -s " + token + f"{url}/v1/async/chat/completions -d '{body}'",
            f"  fetch      curl -s {token}{url}/v1/async/chat/completions/<id>",
            "",
        )
    )
