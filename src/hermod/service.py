"""The only file that constructs everything, and the order in which it starts and stops."""

import asyncio
import gc
import logging
import resource
import signal
import sys
from collections.abc import Callable
from functools import partial

import uvloop

from hermod import __version__
from hermod.calls.call import Caller, CallSettings
from hermod.clock import SystemClock
from hermod.config import Settings
from hermod.domain.clock import Clock
from hermod.domain.retry import RetryPolicy
from hermod.governance.access import Access
from hermod.http import browsers
from hermod.http.app import App, Route
from hermod.http.async_jobs import AsyncJobs
from hermod.http.body import ByteBudget
from hermod.http.guard import Limits
from hermod.http.health import Health
from hermod.http.lifecycle import Lifecycle
from hermod.http.openapi import OpenApi
from hermod.http.server import HttpServer
from hermod.jobs.counts import CountJobs
from hermod.jobs.read import ReadJob
from hermod.jobs.submit import SubmitJob, SubmitSettings
from hermod.kinds.registry import KINDS
from hermod.net.client import HttpClient
from hermod.net.messages import Limits as NetLimits
from hermod.providers.registry import KNOWN_PROVIDERS
from hermod.store.sqlite import SqliteStore
from hermod.worker.identity import Identity
from hermod.worker.run import Runner
from hermod.worker.settings import WorkerSettings
from hermod.worker.worker import Worker

log = logging.getLogger(__name__)

_MIB = 1024 * 1024
_LEAVE_S = 5.0
"""Of the drain's time, what is kept for giving jobs back and closing everything."""
_HTTP_GRACE_S = 1.0
_MAX_FILES = 20_000
_SWITCH_S = 0.0005
"""How long the event loop may keep the interpreter from the writer's thread, which asks for it
after every statement. Python's 5 ms would be the latency of a commit."""


class Service:
    """A gateway in this process."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        ours = settings.hermod
        self._settings = settings
        self._lifecycle = Lifecycle()
        self.store = SqliteStore(settings.database_path, clock, synchronous=ours.synchronous)
        self._client = HttpClient(
            NetLimits(
                connect_s=ours.connect_timeout_s,
                idle_s=ours.idle_timeout_s,
                reply_bytes=ours.max_reply_mb * _MIB,
            ),
            user_agent=f"hermod/{__version__}",
        )
        self._identity = Identity(settings.app_dir / "workers")
        caller = Caller(settings.providers, self._client, clock, _call_settings(settings))
        self._worker = Worker(
            self.store,
            Runner(self.store, caller, clock, ours.lease_s, ours.body_budget_mb * _MIB // 4),
            clock,
            self._identity,
            WorkerSettings(
                lease_s=ours.lease_s,
                renew_s=ours.renew_s,
                upkeep_s=ours.upkeep_s,
                job_deadline_s=ours.job_deadline_s,
                slots=ours.worker_slots,
                lane_slots={name: each.concurrency for name, each in settings.providers.items()},
            ),
        )
        self._server = HttpServer(
            self._app(clock),
            host=settings.host,
            port=settings.port,
            clock=clock,
            limits=Limits(max_connections=_max_connections()),
            headers=browsers.HEADERS,
        )
        self._hurried = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def worker_id(self) -> str:
        """The id under which this process leases jobs."""
        return self._identity.worker_id

    async def start(self) -> None:
        """Take up work. Raises StoreUnavailable or OSError with the remedy."""
        try:
            await self.store.open()
            await self._server.start()
            await self._worker.open()
        except BaseException:
            await self._server.stop(0.0)
            await self._close()
            raise
        self._lifecycle.ready = True

    async def stop(self) -> None:
        """Drain: everything accepted is finished or given back, within `hermod.drain_s`."""
        self._lifecycle.ready = False
        self._lifecycle.draining = True
        drain_s = self._settings.hermod.drain_s
        leave_s = min(_LEAVE_S, drain_s * 0.8)
        await self._worker.drain(drain_s - leave_s, leave_s * 0.4)
        await self._server.stop(0.0 if self._hurried else min(_HTTP_GRACE_S, leave_s * 0.2))
        await self._worker.settle(leave_s * 0.1)
        await self._close()

    async def _close(self) -> None:
        await self._client.close()
        await self.store.close()
        self._identity.release()

    def hurry(self) -> None:
        """Cut a drain short."""
        self._hurried = True
        self._worker.hurry()

    def _app(self, clock: Clock) -> App:
        settings = self._settings
        submit = SubmitJob(
            self.store,
            clock,
            self._worker,
            KNOWN_PROVIDERS | settings.custom_names,
            SubmitSettings(settings.client.async_job_result_ttl, settings.hermod.queue_wait_s),
        )
        access = Access(settings.admin_token.reveal(), enforced=not settings.loopback)
        jobs = AsyncJobs(
            submit,
            ReadJob(self.store),
            access,
            self._lifecycle,
            settings.client.max_request_body_size_mb * _MIB,
            ByteBudget(settings.hermod.body_budget_mb * _MIB),
            settings.base_path,
        )
        health = Health(CountJobs(self.store), self._lifecycle, __version__)
        routes = [
            Route("GET", "/health", health.health, needs_base_path=False),
            Route("GET", "/health/liveness", health.liveness, needs_base_path=False),
            Route("GET", "/health/liveliness", health.liveness, needs_base_path=False),
            Route("GET", "/health/readiness", health.readiness, needs_base_path=False),
            Route("GET", "/metrics", health.metrics, needs_base_path=False),
            Route("GET", "/openapi.json", OpenApi(KINDS, settings.base_path).document),
        ]
        for kind in KINDS:
            path = f"/v1/async/{kind.path}"
            routes.append(Route("POST", path, partial(jobs.submit, kind)))
            routes.append(Route("GET", path + "/{job_id}", partial(jobs.poll, kind)))
        judge = browsers.Browsers(settings.client.allowed_origins, loopback=settings.loopback)
        return App(routes, judge, base_path=settings.base_path)


def _max_connections() -> int:
    """Half of the files we may open, once we may open as many as the system lets us; the other
    half is for upstreams. A listener out of files cannot even refuse."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    return max(files // 2, 1)


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
    )


def run(settings: Settings, started: Callable[[Service], None]) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; a second signal hurries.

    `started` is called once the gateway accepts jobs. Raises what `Service.start` raises.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, started))


async def _serve(settings: Settings, started: Callable[[Service], None]) -> None:
    service = Service(settings, SystemClock())
    asked_to_stop = asyncio.Event()

    def on_signal() -> None:
        if asked_to_stop.is_set():
            service.hurry()
        asked_to_stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    await service.start()
    _calm_the_collector()
    started(service)
    await asked_to_stop.wait()
    log.info("draining: no new jobs; running ones may finish")
    await service.stop()
    log.info("drained")


def _calm_the_collector() -> None:
    """Nothing built so far will ever be garbage, and requests make next to no cycles."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    sys.setswitchinterval(_SWITCH_S)
