"""Health routes and metrics, answered by every role on its own port."""

import json
from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from hermod.domain.errors import StoreError
from hermod.http.lifecycle import Lifecycle
from hermod.http.message import Request, Response
from hermod.http.problems import store_problem
from hermod.jobs.counts import CountJobs, Counts

_PLAIN = ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),)


class Health:
    """The handlers. None of them needs a credential, none shows more than numbers."""

    def __init__(
        self,
        count_jobs: CountJobs,
        lifecycle: Lifecycle,
        version: str,
        unpriced: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """`unpriced` counts, by provider, this process's answers whose cost is not known."""
        self._count_jobs = count_jobs
        self._lifecycle = lifecycle
        self._version = version
        self._unpriced = unpriced

    async def health(self, _: Request) -> Response:
        """`GET /health`, in Bifrost's shape (product.md 4.2).

        A full disk is told but is no 503: results can be fetched, and only those who still send
        jobs would notice that there is room again.
        """
        try:
            self._lifecycle.require_store()
            await self._count_jobs()
        except StoreError as error:
            return _state(503, "unavailable", db_pings=str(error))
        if self._count_jobs.storage_full:
            return _state(200, "degraded", db_pings="ok", storage="storage_full")
        return _state(200, "ok", db_pings="ok")

    async def liveness(self, _: Request) -> Response:
        """`GET /health/liveness`: the event loop turns."""
        return _state(200, "ok")

    async def readiness(self, request: Request) -> Response:
        """`GET /health/readiness`: send me work."""
        if self._lifecycle.draining:
            return _state(503, "draining")
        if not self._lifecycle.ready:
            why = self._lifecycle.waiting_for
            return _state(503, "starting", **({"db_pings": why} if why else {}))
        return await self.health(request)

    async def metrics(self, _: Request) -> Response:
        """`GET /metrics`, in the text format of Prometheus."""
        try:
            self._lifecycle.require_store()
            counts = await self._count_jobs()
        except StoreError as error:
            return store_problem(error, "read the counters")
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        full = self._count_jobs.storage_full
        metrics = _JobMetrics(counts, self._version, self._unpriced(), storage_full=full)
        registry.register(metrics)
        return Response(200, generate_latest(registry), _PLAIN)


class _JobMetrics:
    """One scrape's worth of counters."""

    def __init__(
        self, counts: Counts, version: str, unpriced: Mapping[str, int], *, storage_full: bool
    ) -> None:
        self._unpriced = unpriced
        self._counts = counts
        self._version = version
        self._storage_full = storage_full

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
        full = GaugeMetricFamily(
            "hermod_storage_full", "1 when the last write found the disk of the store full."
        )
        full.add_metric([], int(self._storage_full))
        unpriced = CounterMetricFamily(
            "hermod_unpriced_calls", "Answers whose cost is not known.", labels=["provider"]
        )
        for provider, n in sorted(self._unpriced.items()):
            unpriced.add_metric([provider], n)
        return [info, jobs, full, unpriced]


def _state(status: int, word: str, **components: str) -> Response:
    whole: dict[str, object] = {"status": word}
    if components:
        whole["components"] = components
    return Response(status, json.dumps(whole, separators=(",", ":")).encode() + b"\n")
