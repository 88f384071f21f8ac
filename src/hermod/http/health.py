"""Health routes and metrics, answered by every role on its own port."""

import json
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from hermod.domain.errors import StoreError
from hermod.domain.job import State
from hermod.http.lifecycle import Lifecycle
from hermod.http.message import Request, Response
from hermod.http.problems import store_problem
from hermod.jobs.counts import CountJobs

Counts = Mapping[tuple[str, str, State], int]
_PLAIN = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


class Health:
    """The handlers. None of them needs a credential, none shows more than numbers."""

    def __init__(self, count_jobs: CountJobs, lifecycle: Lifecycle, version: str) -> None:
        self._count_jobs = count_jobs
        self._lifecycle = lifecycle
        self._version = version

    async def health(self, _: Request) -> Response:
        """`GET /health`, in Bifrost's shape (product.md 4.2)."""
        try:
            await self._count_jobs()
        except StoreError as error:
            return _state(503, "unavailable", db_pings=str(error))
        return _state(200, "ok", db_pings="ok")

    async def liveness(self, _: Request) -> Response:
        """`GET /health/liveness`: the event loop turns."""
        return _state(200, "ok")

    async def readiness(self, request: Request) -> Response:
        """`GET /health/readiness`: send me work."""
        if not self._lifecycle.ready:
            return _state(503, "draining" if self._lifecycle.draining else "starting")
        return await self.health(request)

    async def metrics(self, _: Request) -> Response:
        """`GET /metrics`, in the text format of Prometheus."""
        try:
            counts = await self._count_jobs()
        except StoreError as error:
            return store_problem(error, "read the counters")
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_JobMetrics(counts, self._version))
        return Response(200, generate_latest(registry), _PLAIN)


class _JobMetrics:
    """One scrape's worth of counters."""

    def __init__(self, counts: Counts, version: str) -> None:
        self._counts = counts
        self._version = version

    def collect(self) -> list[Metric]:
        info = GaugeMetricFamily("hermod_build_info", "The running release.", labels=["version"])
        info.add_metric([self._version], 1)
        jobs = GaugeMetricFamily(
            "hermod_jobs", "Jobs in the store, by provider and state.", labels=["lane", "state"]
        )
        totals: dict[tuple[str, str], int] = {}
        for (_, lane, state), n in self._counts.items():
            totals[lane, state.value] = totals.get((lane, state.value), 0) + n
        for (lane, state), n in sorted(totals.items()):
            jobs.add_metric([lane, state], n)
        return [info, jobs]


def _state(status: int, word: str, **components: str) -> Response:
    whole: dict[str, object] = {"status": word}
    if components:
        whole["components"] = components
    return Response(status, json.dumps(whole, separators=(",", ":")).encode() + b"\n")
