"""Processes of the program: started, watched until they are ready, stopped, killed, frozen."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hermod.domain.clock import Clock
from hermod.net.client import HttpClient
from hermod.net.messages import NetError, Request
from hermod.torture.history import Life

_PORTS: Final = range(20_000, 30_000)
_READY_S: Final = 60.0
_ASK_EVERY_S: Final = 0.05
_EXIT_S: Final = 60.0


class CouldNotRun(Exception):
    """There is no verdict. The message says why."""


def free_port() -> int:
    """A port nobody listens on, and below those that the system gives to clients.

    A client that connects to a port of that range while its server is down can meet itself.
    """
    dice = random.SystemRandom()
    while True:
        port = dice.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def own_environment(environ: Mapping[str, str], **more: str) -> dict[str, str]:
    """What a process of a run gets: nothing of the user's that would change what it does."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("HERMOD_") and not name.endswith(("_KEY", "_HOST", "_BASE_URL"))
    }
    return {**kept, **more}


@dataclass
class Program:
    """One process after another under one name, on one port, with one log file."""

    name: str
    group: str
    arguments: tuple[str, ...]
    log: Path
    environ: Mapping[str, str]
    clock: Clock
    port: int = field(default_factory=free_port)
    health: str = "/health/readiness"
    lives: list[Life] = field(default_factory=list[Life])
    asked: str | None = None
    """How the process that runs was told to end."""
    frozen: bool = False
    away: bool = False
    """Killed, and not to be started yet."""
    _process: "subprocess.Popen[bytes] | None" = None
    _started_s: float = 0.0
    _ready_s: float | None = None
    _watch: "asyncio.Task[None] | None" = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        """Whether its process runs and is not frozen."""
        return self.runs and not self.frozen

    @property
    def runs(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_ready(self) -> bool:
        """Whether the process that runs has said that it can be sent work."""
        return self.is_up and self._ready_s is not None

    def start(self, client: HttpClient) -> None:
        """A new process, which is not ready yet. Raises CouldNotRun."""
        self.away, self.asked, self._ready_s = False, None, None
        command = [sys.executable, "-m", "hermod", *self.arguments, "--port", str(self.port)]
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - this very program
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(self.environ),
                    # Ctrl-C is for us, who then end it.
                    start_new_session=True,
                )
            except OSError as error:
                raise CouldNotRun(f"{self.name} cannot be started: {error}") from error
        self._started_s = self.clock.monotonic()
        self._watch = asyncio.get_running_loop().create_task(self._see_it_ready(client))

    async def _see_it_ready(self, client: HttpClient) -> None:
        request = Request("GET", self.url + self.health)
        while self.runs:
            try:
                reply = await client.send(request, timeout_s=5.0)
            except NetError:
                pass
            else:
                if reply.status == 200:
                    self._ready_s = self.clock.monotonic()
                    return
            await asyncio.sleep(_ASK_EVERY_S)

    async def ready(self) -> None:
        """Until it is. Raises CouldNotRun if it ends instead, or takes too long."""
        assert self._watch is not None
        await asyncio.wait({self._watch}, timeout=_READY_S)
        if self._ready_s is None:
            raise CouldNotRun(f"{self.name} did not become ready:\n{self.tail()}")

    async def end(self, how: str) -> int:
        """`kill` or `term` it; its exit code. One that ignores a SIGTERM is killed, which shows."""
        process = self._process
        assert process is not None
        self.asked = how if process.poll() is None else None
        process.send_signal(signal.SIGKILL if how == "kill" else signal.SIGTERM)
        try:
            code = await asyncio.to_thread(process.wait, _EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = await asyncio.to_thread(process.wait, _EXIT_S)
        self.bury()
        return code

    def bury(self) -> None:
        """Keep the record of a process that has ended."""
        process = self._process
        if process is None or process.returncode is None:
            return
        if self._watch is not None:
            self._watch.cancel()
        ended_s = self.clock.monotonic()
        self.lives.append(
            Life(
                self.name,
                self.group,
                self._started_s,
                self._ready_s,
                ended_s,
                self.asked,
                process.returncode,
            )
        )
        self._process = None

    def pause(self) -> None:
        """SIGSTOP, and it does nothing more when this returns."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGSTOP)
        # Only looks: whoever waits for the process is still told how it ended.
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """SIGCONT."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)

    def destroy(self) -> None:
        """Whatever its state, it is gone afterwards."""
        if self._watch is not None:
            self._watch.cancel()
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(_EXIT_S)

    def tail(self) -> str:
        """The end of its log."""
        try:
            return self.log.read_text("utf-8", "replace")[-2000:]
        except OSError:
            return ""
