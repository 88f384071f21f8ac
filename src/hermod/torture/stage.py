"""What a run needs: an upstream, the processes of the program, a database."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hermod.domain.clock import Clock
from hermod.domain.ids import uuid7
from hermod.net.client import HttpClient
from hermod.torture.cluster import Cluster
from hermod.torture.plan import AWAY, BUSY, LANES, Plan
from hermod.torture.programs import Program, own_environment
from hermod.torture.purses import PRICES_USD, Purses
from hermod.torture.snapshot import Evidence, PostgresEvidence, SqliteEvidence

_TTL_S: Final = 86_400
"""No result may expire while the run looks at it."""
_HURRIED: Final = {"max_retries": 1, "retry_backoff_initial": 100, "retry_backoff_max": 400}
"""Nobody waits long for a provider that is away: there are fallbacks."""
_BEFORE_US: Final = 1_000_000


@dataclass(frozen=True)
class Place:
    """Where a run happens, and on which database."""

    folder: Path
    """Exists and is empty."""
    environ: Mapping[str, str]
    url: str | None = None
    """Of a PostgreSQL; None for SQLite in the folder."""
    cluster: Cluster | None = None
    """Behind `url`, when it is ours to kill."""
    keep: bool = False
    """Whether copies of the database stay."""


class Stage:
    """The cast of a run. Nothing is started by making it."""

    def __init__(self, plan: Plan, place: Place, clock: Clock) -> None:
        self.plan = plan
        self.place = place
        self.clock = clock
        self.client = HttpClient(user_agent="hermod-torture")
        self.since_id = uuid7(clock.now() - _BEFORE_US)
        """Before those of the run's jobs."""
        self.purses = Purses.of(plan, self.since_id)
        self.peace = asyncio.Lock()
        """Held while processes must neither begin nor go on."""
        self.record = place.folder / "upstream.jsonl"
        self.upstream = self._program(
            "upstream",
            "upstream",
            "mock-upstream", "--echo", "--record", str(self.record), "--seed", str(plan.seed),
            "--latency", plan.latency, "--error-rate", str(plan.error_share),
        )  # fmt: skip
        self.upstream.health = "/health"
        self.programs = [self._hermod(name, group) for name, group in plan.processes]
        self.evidence = self._evidence()

    def _program(self, name: str, group: str, *arguments: str, **environ: str) -> Program:
        return Program(
            name,
            group,
            arguments,
            self.place.folder / f"{name}.log",
            own_environment(self.place.environ, **environ),
            self.clock,
        )

    def _hermod(self, name: str, group: str) -> Program:
        role = "api" if group == "gateway" else group
        flags = ("--app-dir", str(self._app_dir(name)), "--role", role)
        # Not as a flag: everybody on the machine can read those, and it may hold a password.
        environ = {"HERMOD_DATABASE": self.place.url} if self.place.url else {}
        return self._program(name, group, "serve", *flags, **environ)

    def _app_dir(self, name: str) -> Path:
        return self.place.folder / ("app" if self.plan.shared_app_dir else f"app-{name}")

    def _evidence(self) -> Evidence:
        if self.place.url is not None:
            return PostgresEvidence(self.place.url, self.since_id)
        return SqliteEvidence(
            self._app_dir("") / "hermod.db",
            self.place.folder / "copies",
            self.clock,
            self.peace,
            self.programs,
            keep=self.place.keep,
        )

    async def open(self) -> None:
        """Start everything, and wait until it is ready. Raises CouldNotRun."""
        self.upstream.start(self.client)
        for name, _ in self.plan.processes:
            self._configure(self._app_dir(name))
        for program in self.programs:
            program.start(self.client)
            await program.ready()
        await self.upstream.ready()

    def _configure(self, app_dir: Path) -> None:
        app_dir.mkdir(exist_ok=True)
        plan = self.plan
        ours = {
            "lease_s": plan.lease_s,
            "renew_s": plan.lease_s / 3,
            "upkeep_s": plan.upkeep_s,
            "prices": {f"{lane}/*": {"request_usd": usd} for lane, usd in PRICES_USD.items()},
        }
        config: dict[str, Any] = {
            "providers": {
                **{lane: self._provider() for lane in (*LANES, BUSY)},
                AWAY: self._provider(**_HURRIED),
            },
            "client": {"async_job_result_ttl": _TTL_S},
            "governance": self.purses.governance,
            "hermod": ours,
        }
        (app_dir / "config.json").write_text(json.dumps(config, indent=1), "utf-8")

    def _provider(self, **network: int) -> dict[str, Any]:
        return {
            "keys": [{"name": "main", "value": "not-a-secret", "weight": 1}],
            "network_config": {"base_url": self.upstream.url, **network},
        }

    def addresses(self) -> list[str]:
        """Of everybody who takes jobs. Some may be down, as behind a real load balancer."""
        return [program.url for program in self.programs if program.group != "worker"]

    async def close(self) -> None:
        """End whatever still runs, whatever its state."""
        for program in (*self.programs, self.upstream):
            program.destroy()
        if self.place.cluster is not None:
            self.place.cluster.stop_at_once()
        await self.client.close()
