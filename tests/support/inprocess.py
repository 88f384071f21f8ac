"""The whole gateway inside the test's own loop: real store, real server, mock provider."""

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from hermod.clock import SystemClock
from hermod.config import load
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows
from hermod.service import Service


class MovableClock(SystemClock):
    """The real clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now(self) -> int:
        return super().now() + int(self.ahead_s * 1_000_000)


@dataclass
class Running:
    """A gateway that accepts jobs, and a client without a credential."""

    service: Service
    http: httpx.AsyncClient
    clock: MovableClock
    _stopping: "asyncio.Task[None] | None" = None

    def stop(self) -> "asyncio.Task[None]":
        """Begin to drain, at the first call."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self.service.stop())
        return self._stopping


@asynccontextmanager
async def gateway(
    app_dir: Path,
    *,
    config: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    **flags: str,
) -> AsyncGenerator[Running]:
    """A gateway on a free port, drained afterwards."""
    _write_config(app_dir, config or {})
    flags = {"port": "0", "app_dir": str(app_dir), **flags}
    loaded = load(flags, environ or {}, rows=load_rows(), known=KNOWN_PROVIDERS)
    clock = MovableClock()
    service = Service(loaded.settings, clock)
    await service.start()
    address = f"http://127.0.0.1:{service.port}"
    async with httpx.AsyncClient(base_url=address, timeout=30, trust_env=False) as http:
        running = Running(service, http, clock)
        try:
            yield running
        finally:
            await running.stop()


def _write_config(app_dir: Path, config: Mapping[str, Any]) -> None:
    app_dir.mkdir(parents=True, exist_ok=True)
    (app_dir / "config.json").write_text(json.dumps(config), "utf-8")
