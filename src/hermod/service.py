"""The only file that constructs everything, and the order in which it starts and stops."""

import asyncio
import logging
import random
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import uvloop

from hermod import __version__
from hermod.calls.call import Caller
from hermod.calls.credentials import Credentials
from hermod.calls.credentials_aws import AwsSigner
from hermod.calls.credentials_azure import AzureTokens
from hermod.calls.credentials_google import GoogleTokens
from hermod.calls.direct import DirectKeys
from hermod.calls.models import ModelLists
from hermod.calls.spec import CallSettings
from hermod.clock import SystemClock
from hermod.config import Settings
from hermod.domain.clock import Clock
from hermod.domain.errors import StoreUnavailable
from hermod.domain.governance import VirtualKey
from hermod.domain.retry import RetryPolicy
from hermod.governance.balance import Placed, place
from hermod.governance.management import Management
from hermod.governing import Governing
from hermod.http import browsers
from hermod.http.api.routes import Api, api_routes
from hermod.http.app import App, Level, Route
from hermod.http.async_jobs import AsyncJobs
from hermod.http.background import BackgroundResponses
from hermod.http.body import ByteBudget
from hermod.http.docs_page import DocsPage
from hermod.http.door_shapes import Anthropic
from hermod.http.door_table import (
    Elsewhere,
    GenAiDoors,
    anthropic_roots,
    door_routes,
    genai_lists,
    genai_roots,
    model_roots,
    response_roots,
)
from hermod.http.front_doors import Door, FrontDoors
from hermod.http.guard import Limits
from hermod.http.guesses import Guesses
from hermod.http.health import Health
from hermod.http.lifecycle import Gate, Lifecycle
from hermod.http.listen import listen
from hermod.http.live_calls import LiveCalls
from hermod.http.models import Models
from hermod.http.openapi import OpenApi
from hermod.http.reception import Reception
from hermod.http.request_headers import HeaderRules
from hermod.http.server import HttpServer
from hermod.jobs.call_now import CallNow
from hermod.jobs.cancel import CancelJob
from hermod.jobs.counts import CountJobs
from hermod.jobs.intake import Intake, JobSettings
from hermod.jobs.read import ReadJob
from hermod.jobs.submit import SubmitJob
from hermod.kinds.registry import KINDS
from hermod.kinds.responses import RESPONSES
from hermod.net.client import HttpClient
from hermod.net.messages import Limits as NetLimits
from hermod.prices.names import bases_of
from hermod.prices.prices import Prices
from hermod.prices.stored import current_prices
from hermod.process import calm_the_collector, max_connections
from hermod.providers.registry import KNOWN_PROVIDERS, MOCK
from hermod.provisioning import Provisioning
from hermod.sealing import vault_of
from hermod.store.api import Store
from hermod.store.choose import preload, store_at
from hermod.supervisor import Link, Order
from hermod.vault import Vault
from hermod.worker.identity import Identity
from hermod.worker.run import Runner
from hermod.worker.settings import WorkerSettings
from hermod.worker.steward import Steward
from hermod.worker.worker import Worker

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_LEAVE_S = 5.0
"""Of the drain's time, what is kept for giving jobs back and closing everything."""
_HTTP_GRACE_S = 1.0
_WATCH_S = 0.03
_WATCH_ALONE_S = 0.25
_SIBLINGS_S = 1.0
"""How long a process that shares its port leaves connections to the others while it starts."""
_LONGEST_PAUSE_S = 2.0
"""Between two tries to reach a database that is not there yet."""


class Working:
    """What makes calls: a name, a way out, and the worker.

    A gateway that leaves the queue to others has it too, for callers who wait.
    """

    def __init__(self, settings: Settings, store: Store, vault: Vault) -> None:
        """Raises OSError when it cannot have a name of its own."""
        self._settings = settings
        ours, clock = settings.hermod, store.clock
        self.identity = Identity(settings.app_dir / "workers")
        self._client = HttpClient(
            NetLimits(
                connect_s=ours.connect_timeout_s,
                idle_s=ours.idle_timeout_s,
                reply_bytes=ours.max_reply_mb * _MIB,
            ),
            user_agent=f"hermod/{__version__}",
        )
        self.prices = Prices(
            partial(current_prices, settings.app_dir),
            clock,
            settings.prices,
            bases_of(settings.providers.values()),
        )
        credentials = Credentials(
            AwsSigner(self._client, clock, settings.cloud),
            GoogleTokens(self._client, clock, settings.cloud),
            AzureTokens(self._client, clock, settings.cloud),
        )
        caller = Caller(
            settings.providers,
            self._client,
            clock,
            _call_settings(settings),
            credentials=credentials,
            prices=self.prices,
            direct=DirectKeys(vault, settings.unconfigured),
        )
        self.governing = Governing(settings, store, vault, self._client)
        governor = self.governing.governor
        self.provisioning = Provisioning(settings, store, vault, governor)
        settled = self.provisioning.roster.settled
        steward = Steward(store, governor, caller, clock, ours.queue_wait_s, settled)
        self.models = ModelLists(
            settings.providers,
            self._client,
            clock,
            with_mock=ours.mock,
            credentials=credentials,
        )
        self.worker = Worker(
            store,
            Runner(
                store,
                caller,
                clock,
                ours.lease_s,
                ours.body_budget_mb * _MIB // 4,
                admission=steward,
            ),
            clock,
            self.identity,
            WorkerSettings(
                lease_s=ours.lease_s,
                renew_s=ours.renew_s,
                upkeep_s=ours.upkeep_s,
                job_deadline_s=ours.job_deadline_s,
                slots=ours.worker_slots,
                lane_slots={name: each.concurrency for name, each in settings.providers.items()},
                claims=settings.role != "api",
            ),
            room=caller,
        )
        self.provisioning.tell(caller, self.models, self.prices, self.worker)

    def offers(self, provider: str, model: str) -> bool:
        """Whether a provider is configured, and one of its keys may be used for the model."""
        settings = self.provisioning.roster.providers.get(provider)
        if settings is None:
            return provider == MOCK and self._settings.hermod.mock
        return settings.keyless or any(k.usable and k.allows(model) for k in settings.keys)

    async def open(self) -> None:
        """Know the providers, then take up work. Raises StoreError."""
        await self.provisioning.roster.settled()
        await self.worker.open()

    async def close(self) -> None:
        """Close what is open to the outside."""
        await self.governing.close()
        await self.provisioning.roster.close()
        await self._client.close()


class Service:
    """A gateway in this process, in the role that the settings say."""

    def __init__(
        self, settings: Settings, clock: Clock, sockets: Sequence[socket.socket] = ()
    ) -> None:
        """`sockets` listen already, and other processes may share them."""
        self._settings = settings
        self._shares_port = bool(sockets)
        self._lifecycle = Lifecycle()
        self._lifecycle.waiting_for = "the database is being opened"
        self.store = store_at(
            settings.database_url.reveal(),
            settings.database_path,
            clock,
            synchronous=settings.hermod.synchronous,
            watch_s=_watch_s(settings),
        )
        self._vault = vault_of(settings)
        self._working = Working(settings, self.store, self._vault)
        self._uploads = settings.app_dir / "uploads"
        """Where large bodies lie, without a name, until they are stored."""
        self._guesses = Guesses(clock)
        self.routes: Final = tuple(self._routes())
        """What is served here."""
        self._server = HttpServer(
            App(
                self.routes,
                browsers.Browsers(settings.client.allowed_origins, loopback=settings.loopback),
                base_path=settings.base_path,
                gatekeeper=Gate(self._working.governing.access, self._lifecycle),
                guesses=self._guesses,
            ),
            host=settings.host,
            port=settings.port,
            clock=clock,
            limits=Limits(max_connections=max_connections()),
            headers=browsers.HEADERS,
            sockets=sockets,
        )
        self._hurried = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def worker_id(self) -> str:
        """The id under which this process leases jobs."""
        return self._working.identity.worker_id

    async def start(self) -> None:
        """Listen, wait for the store, take up work.

        Raises OSError, StoreUnavailable or StoreMisconfigured, with the remedy.
        """
        self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
        opening = asyncio.ensure_future(self._open_store())
        try:
            if self._shares_port:
                await asyncio.wait({opening}, timeout=_SIBLINGS_S)
            await self._server.start()
            await opening
            await self._working.open()
        except BaseException:
            opening.cancel()
            await asyncio.gather(opening, return_exceptions=True)
            await self._server.stop(0.0)
            await self._close()
            raise
        self._lifecycle.ready = True
        log.info("role %s, worker %s", self._settings.role, self.worker_id)

    async def _open_store(self) -> None:
        """Open it, again and again while a server is not there yet. A file is there or is not."""
        clock = self.store.clock
        wait_s = 0.0 if self._settings.database_path else self._settings.hermod.database_wait_s
        ends_s = clock.monotonic() + wait_s
        pause_s = 0.1
        told = False
        while True:
            try:
                await self.store.open()
                await self._working.governing.open()
            except StoreUnavailable as error:
                left_s = ends_s - clock.monotonic()
                if not wait_s:
                    raise
                if left_s <= 0:
                    raise StoreUnavailable(
                        f"{error.whole}. Waited {wait_s:g} s for it (hermod.database_wait_s)"
                    ) from error
                if not told:
                    told = True
                    log.warning("waiting up to %g s for the database: %s", wait_s, error.whole)
                self._lifecycle.waiting_for = f"the database is not there yet: {error}"
                await asyncio.sleep(min(left_s, pause_s * random.uniform(0.5, 1.0)))  # noqa: S311
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
            else:
                self._lifecycle.waiting_for = ""
                return

    async def stop(self) -> None:
        """Drain: everything accepted is finished or given back, within `hermod.drain_s`."""
        self._lifecycle.ready = False
        self._lifecycle.draining = True
        drain_s = self._settings.hermod.drain_s
        leave_s = min(_LEAVE_S, drain_s * 0.8)
        worker = self._working.worker
        grace_s = 0.0 if self._hurried else drain_s - leave_s
        await worker.drain(grace_s, leave_s * 0.4)
        await self._server.stop(0.0 if self._hurried else min(_HTTP_GRACE_S, leave_s * 0.2))
        await worker.settle(leave_s * 0.1)
        await self._close(leave_s * 0.3)

    async def _close(self, patience_s: float = _LEAVE_S * 0.3) -> None:
        await self._working.close()
        try:
            async with asyncio.timeout(patience_s):
                await self.store.close()
        except TimeoutError:
            # Everybody has had an answer, or has gone. A lease that may still be held runs out.
            log.warning("the database does not answer: leaving without a goodbye")
        self._working.identity.release()

    def hurry(self) -> None:
        """Cut a drain short, also one that is still to come."""
        self._hurried = True
        self._working.worker.hurry()

    def abandon(self) -> None:
        """Leave the port at once, and hurry: somebody may be about to take our place."""
        self._server.stop_listening()
        self.hurry()

    def _routes(self) -> list[Route]:
        health = Health(
            CountJobs(self.store),
            self._lifecycle,
            __version__,
            lambda: self._working.prices.unpriced,
        )
        # A worker asks for no secret: nobody could show one.
        is_open = self._settings.loopback or self._settings.role == "worker"
        metrics = Level.PUBLIC if is_open else Level.ADMIN
        probe = partial(Route, "GET", needs_base_path=False, access=Level.PUBLIC)
        routes = [
            probe("/health", health.health),
            probe("/health/liveness", health.liveness),
            probe("/health/liveliness", health.liveness),
            probe("/health/readiness", health.readiness),
            probe("/metrics", health.metrics, access=metrics),
        ]
        if self._settings.role == "worker":
            return routes
        known_providers = KNOWN_PROVIDERS | self._settings.custom_names
        docs = DocsPage()
        return [
            *routes,
            Route(
                "GET",
                "/openapi.json",
                OpenApi(KINDS, known_providers, self._settings.base_path).document,
                access=Level.PUBLIC,
            ),
            Route("GET", "/docs", docs.page, access=Level.PUBLIC),
            Route("GET", "/docs/{file}", docs.file, access=Level.PUBLIC),
            *(route._replace(access=Level.CALLER) for route in self._job_routes()),
            *self._api_routes(),
            *self._working.provisioning.routes(self._working.models),
        ]

    def _api_routes(self) -> Iterator[Route]:
        """What administrators manage."""
        settings, clock, governing = self._settings, self.store.clock, self._working.governing
        known = self._working.provisioning.known

        def is_provider(name: str) -> bool:
            return governing.governor.book.document("provider", name) is not None or name in known

        management = Management(self.store, governing.governor, clock, is_provider)
        return api_routes(
            Api(
                management,
                governing.sessions,
                governing.issuer,
                governing.access,
                self._guesses,
                clock,
                __version__,
                settings.base_path,
                settings.auth.token_life_s,
            )
        )

    def _job_routes(self) -> Iterator[Route]:
        """Everything that makes calls or jobs, or reads them."""
        settings, store, slots = self._settings, self.store, self._working.worker
        provisioning = self._working.provisioning
        known_providers, speaks = provisioning.known, provisioning.speaks
        intake = Intake(
            store.clock,
            known_providers,
            JobSettings(settings.client.async_job_result_ttl, settings.hermod.queue_wait_s),
            self._vault,
            self._place,
        )
        governing = self._working.governing
        governing.governor.on_change(lambda: intake.keep_results(provisioning.runtime.result_ttl_s))
        reception = Reception(
            governing.access,
            self._lifecycle,
            _header_rules(settings),
            settings.client.max_request_body_size_mb * _MIB,
            ByteBudget(settings.hermod.body_budget_mb * _MIB),
            self._uploads,
        )
        submit, read = SubmitJob(store, intake, slots), ReadJob(store)
        jobs = AsyncJobs(reception, submit, read, settings.base_path)
        calls = LiveCalls(CallNow(store, intake, slots))
        doors = FrontDoors(reception, calls, submit, read)
        for kind in KINDS:
            path = f"/v1/async/{kind.path}"
            yield Route("POST", path, partial(jobs.submit, kind))
            yield Route("GET", path + "/{job_id}", partial(jobs.poll, kind))
            door = Door(kind=kind, background=kind is RESPONSES)
            yield Route("POST", f"/v1/{kind.path}", partial(doors.call, door))
        for path, door in door_routes(known_providers, speaks):
            yield Route("POST", path, partial(doors.call, door))
        for root in anthropic_roots():
            yield Route("POST", root + "/{rest…}", Elsewhere(doors, Anthropic("")).refuse)
        genai = GenAiDoors(doors, known_providers, speaks)
        models = Models(reception, self._working.models, governing.rules)
        for root in genai_roots():
            yield Route("POST", root + "/{model…}", genai.call)
        for root in genai_lists():
            yield Route("GET", root, models.genai)
            yield Route("GET", root + "/{model…}", models.genai_one)
        for root in model_roots():
            yield Route("GET", root, models.all)
            yield Route("GET", root + "/{model…}", models.one)
        background = BackgroundResponses(reception, read, CancelJob(store, slots))
        for root in response_roots():
            yield Route("GET", root + "/{response_id}", background.retrieve)
            yield Route("POST", root + "/{response_id}/cancel", background.cancel)

    def _place(self, key: VirtualKey, model: str) -> Placed | None:
        """The provider of a model without a prefix, for who shows this key."""
        rules = self._working.governing.rules
        return place(key, model, rules, random.random(), self._working.offers)  # noqa: S311


def _watch_s(settings: Settings) -> float | None:
    """How often to ask a SQLite file for jobs of other processes.

    Asking thirty times a second costs half a percent of a processor. Who is probably alone asks
    rarely, but still notices that somebody has come; who runs no jobs need not know.
    """
    if settings.role == "api":
        return None
    alone = settings.role == "all" and settings.processes == 1
    return _WATCH_ALONE_S if alone else _WATCH_S


def _header_rules(settings: Settings) -> HeaderRules:
    client = settings.client
    return HeaderRules(
        client.header_filter,
        logged=client.logging_headers,
        required=client.required_headers,
        prometheus_labels=client.prometheus_labels,
    )


def _call_settings(settings: Settings) -> CallSettings:
    ours = settings.hermod
    return CallSettings(
        forward_unknown_fields=ours.forward_unknown_fields,
        attempt_timeout_s=ours.attempt_timeout_s,
        retry_policy=RetryPolicy(
            ours.max_retries,
            ours.retry_backoff_initial_ms / 1000,
            ours.retry_backoff_max_ms / 1000,
        ),
        mock=ours.mock,
        text_to_chat=settings.client.compat.convert_text_to_chat,
        chat_to_responses=settings.client.compat.convert_chat_to_responses,
        drop_unsupported=settings.client.compat.should_drop_params,
        strict_prices=ours.strict_prices,
    )


def prepare_to_share(settings: Settings) -> list[socket.socket]:
    """Load what processes forked from this one will need; the listening sockets they share.

    Raises OSError, naming the address.
    """
    preload(settings.database_path)
    return listen(settings.host, settings.port, Limits().backlog)


def run(
    settings: Settings,
    started: Callable[[Service], None],
    sockets: Sequence[socket.socket] = (),
    link: Link | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; a second signal hurries.

    `started` is called once the gateway accepts jobs. Under a supervisor, which `link` leads to, it
    says when to hurry. Raises what `Service.start` raises.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, started, sockets, link))


async def _serve(
    settings: Settings,
    started: Callable[[Service], None],
    sockets: Sequence[socket.socket],
    link: Link | None,
) -> None:
    service = Service(settings, SystemClock(), sockets)
    asked_to_stop = asyncio.Event()

    def on_signal() -> None:
        if asked_to_stop.is_set() and link is None:
            service.hurry()
        asked_to_stop.set()

    def on_order(order: Order) -> None:
        if order is Order.HURRY:
            service.hurry()
        elif order is Order.ORPHANED:
            log.error("the supervisor is gone: leaving, too")
            service.abandon()
        asked_to_stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    if link is not None:
        link.on_order(on_order)
    starting = asyncio.ensure_future(service.start())
    stopping = asyncio.ensure_future(asked_to_stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        log.info("told to stop before the start was over")
        starting.cancel()
        await asyncio.wait({starting})
        return
    starting.result()
    calm_the_collector()
    started(service)
    await stopping
    log.info("draining: no new jobs; running ones may finish")
    await service.stop()
    log.info("drained")
