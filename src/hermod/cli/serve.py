"""`hermod serve`."""

import logging
import os
import sys

import click

from hermod import __version__, service
from hermod.cli.complaint import complaint
from hermod.clock import SystemClock
from hermod.config import Loaded, Settings, load
from hermod.domain import failpoint
from hermod.domain.errors import ConfigError, StoreError
from hermod.logs import set_up_logging
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows
from hermod.supervisor import Link, Supervisor

log = logging.getLogger(__name__)


@click.command()
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port; 0 takes a free one.  [default: 8080]")
@click.option("--base-path", metavar="/PREFIX", help="Serve the whole API under this path.")
@click.option("--app-dir", metavar="DIR", help="Where data lives.  [default: ./hermod-data]")
@click.option("--config", metavar="FILE", help="[default: <app-dir>/config.json, if present]")
@click.option(
    "--database",
    metavar="URL",
    help="sqlite:///FILE, or postgresql://USER:PASSWORD@HOST/NAME.  [default: <app-dir>/hermod.db]",
)
@click.option("--role", help="all; api takes requests, worker runs the queue.  [default: all]")
@click.option("--processes", type=int, help="How many share the port.  [default: 1]")
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
    settings = loaded.settings
    set_up_logging(settings.log_level, several=settings.processes > 1)
    _arm_failpoints(os.environ.get("HERMOD_FAILPOINTS", ""))
    for warning in loaded.warnings:
        log.warning("%s", warning)
    for ignored in loaded.ignored:
        log.warning("%s is ignored: %s", ignored.place, ignored.reason)
    sys.exit(_alone(loaded) if settings.processes == 1 else _supervised(loaded))


def _alone(loaded: Loaded) -> int:
    """One process, this one. The exit code."""

    def started(running: service.Service) -> None:
        _show(banner(loaded, running.store.name, running.port))

    try:
        service.run(loaded.settings, started)
    except (StoreError, OSError) as error:
        return _cannot_start(error)
    return 0


def _supervised(loaded: Loaded) -> int:
    """Several processes, watched by this one. The exit code."""
    settings = loaded.settings
    try:
        sockets = service.prepare_to_share(settings)
    except OSError as error:
        return _cannot_start(error)
    port: int = sockets[0].getsockname()[1]

    def gateway(link: Link) -> int:
        try:
            service.run(settings, lambda running: link.ready(running.store.name), sockets, link)
        except (StoreError, OSError) as error:
            return _cannot_start(error)
        return 0

    return Supervisor(
        settings.processes,
        gateway,
        sockets=sockets,
        started=lambda store: _show(banner(loaded, store, port)),
        drain_s=settings.hermod.drain_s,
        clock=SystemClock(),
    ).run()


def _show(text: str) -> None:
    """Print, if anybody can read it: a full disk behind the output is no reason to stop."""
    try:
        click.echo(text)
    except OSError as error:
        log.warning("the banner cannot be printed: %s", error)
        # What is left in the buffer would fail again at the exit, and change its code.
        sys.stdout = None


def _cannot_start(error: StoreError | OSError) -> int:
    click.echo(f"hermod: {complaint(error)}", err=True)
    return 2


def _arm_failpoints(spec: str) -> None:
    """For tests and torture (hermod.domain.failpoint)."""
    try:
        failpoint.enable(spec)
    except ValueError as error:
        click.echo(f"HERMOD_FAILPOINTS: {error}. Nothing was started.", err=True)
        sys.exit(1)
    if spec:
        log.warning("FAILPOINTS ARE ENABLED, this gateway will fail on purpose: %s", spec)


def banner(loaded: Loaded, store: str, port: int) -> str:
    """What a person wants to know first. Names of keys and variables, never values."""
    settings = loaded.settings
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    url = f"http://{host}:{port}{settings.base_path}"
    lines = [
        "",
        f"  hermod {__version__}   {store} at {settings.database_path or settings.database}",
        f"  listening  {url}   ({_calls(loaded)})",
    ]
    if settings.role != "all" or settings.processes > 1:
        several = f", {settings.processes} processes" if settings.processes > 1 else ""
        lines.append(f"  role       {settings.role}{several}")
    providers = ["mock (always on)"] if settings.hermod.mock else []
    providers += [f"{each.name} ({each.origin})" for each in settings.providers.values()]
    lines.append(f"  providers  {', '.join(providers) or 'none: no job can be answered'}")
    if settings.role == "worker":
        return "\n".join((*lines, f"  health     {url}/health   metrics {url}/metrics", ""))
    body = '{"model":"mock/hello","messages":[{"role":"user","content":"hi"}]}'
    token = _credential(settings)
    return "\n".join(
        (
            *lines,
            f"  access     {_access(settings)}",
            f"  health     {url}/health   metrics {url}/metrics   API {url}/docs",
            "",
            "  submit     curl -s " + token + f"{url}/v1/async/chat/completions -d '{body}'",
            f"  fetch      curl -s {token}{url}/v1/async/chat/completions/<id>",
            "",
        )
    )


def _access(settings: Settings) -> str:
    """Who may call, and how an admin is known."""
    if not settings.enforced:
        return "open (loopback only)"
    ways = ["bearer token HERMOD_ADMIN_TOKEN"] if settings.admin_token else []
    ways += ["name and password of auth_config"] if settings.auth.admin_enabled else []
    ways += ["virtual keys", *(["JWT"] if settings.auth.jwt_issuers else [])]
    return ", ".join(ways)


def _credential(settings: Settings) -> str:
    """What curl needs."""
    if not settings.enforced:
        return ""
    if settings.admin_token:
        return '-H "Authorization: Bearer $HERMOD_ADMIN_TOKEN" '
    return '-H "x-bf-vk: $VIRTUAL_KEY" '


def _calls(loaded: Loaded) -> str:
    settings = loaded.settings
    if settings.role == "api":
        return "jobs are run by processes of role worker"
    each = " and process" if settings.processes > 1 else ""
    return f"calls in flight per provider{each}: {settings.hermod.worker_slots}"
