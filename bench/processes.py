"""The programs a measurement needs, each a process of its own on the processor it belongs to."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bench.load import Figures, Plan
from bench.machine import LOAD_CPU, SUT_CPU, pin

ROOT: Final = Path(__file__).resolve().parent.parent
CHAT: Final = "/v1/chat/completions"
ASYNC_CHAT: Final = "/v1/async/chat/completions"
_START_S: Final = 30.0
_STOP_S: Final = 30.0
_PLAN_MARGIN_S: Final = 120.0


class Failed(Exception):
    """A program did not do what the measurement needs. The message says which and where to look."""


class Version(NamedTuple):
    """A checkout with its own virtualenv."""

    name: str
    root: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.root / ".venv/bin/python"

    @property
    def hermod(self) -> Path:
        """The installed program."""
        return self.root / ".venv/bin/hermod"


class Served(NamedTuple):
    """A system under test: where it answers, and what it consists of."""

    ports: tuple[int, ...]
    parts: Mapping[str, tuple[int, ...]]
    """By part, the processes that head its trees."""


class Running(NamedTuple):
    """A server that answers."""

    process: "subprocess.Popen[bytes]"
    port: int

    @property
    def pid(self) -> int:
        """The process to watch."""
        return self.process.pid

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def served(self) -> Served:
        """A system of one process."""
        return Served((self.port,), {"gateway": (self.pid,)})


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def call(port: int, method: str, path: str, body: object = None) -> tuple[int, bytes]:
    """One HTTP call outside any measurement. Raises OSError and http.client.HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(method, path, text, {"content-type": "application/json"})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def spawn(command: Sequence[str | Path], cpu: int | None, log: Path) -> "subprocess.Popen[bytes]":
    """Start a program on one processor (None: on any), writing to `log`.

    It gets none of this process's settings.
    """
    environment = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ
    }
    # The child inherits the processor; pinned afterwards, its first threads would be elsewhere.
    pin(0, cpu)
    try:
        with log.open("ab") as out:
            return subprocess.Popen(
                [*map(str, command)], cwd=ROOT, env=environment, stdout=out, stderr=out
            )
    finally:
        pin(0, LOAD_CPU)


def wait_until_ready(running: Running, path: str, log: Path, status: int = 200) -> None:
    """Return once `path` answers with `status`. Raises Failed."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        try:
            if call(running.port, "GET", path)[0] == status:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.01)
    tail = log.read_text(errors="replace")[-2000:]
    raise Failed(f"{running.process.args!r} does not answer {path}:\n{tail}")


def stop(process: "subprocess.Popen[bytes]") -> None:
    """SIGTERM, then SIGKILL."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def upstream(
    version: Version, folder: Path, *options: str, port: int | None = None
) -> Generator[Running]:
    """The mock upstream."""
    log = folder / "upstream.log"
    port = port or free_port()
    command = [version.hermod, "mock-upstream", "--port", str(port), *options]
    running = Running(spawn(command, LOAD_CPU, log), port)
    try:
        wait_until_ready(running, "/health", log)
        yield running
    finally:
        stop(running.process)


@contextmanager
def constant(
    version: Version, folder: Path, status: int, reply: bytes, cpu: int = SUT_CPU
) -> Generator[Running]:
    """Our HTTP server around nothing, with the modules of a version."""
    (folder / "reply").write_bytes(reply)
    log, port = folder / "constant.log", free_port()
    command = [version.python, "-m", "bench.constant_app", "--port", str(port)]
    command += ["--status", str(status), "--reply", folder / "reply"]
    running = Running(spawn(command, cpu, log), port)
    try:
        wait_until_ready(running, "/", log, status)
        yield running
    finally:
        stop(running.process)


@contextmanager
def gateway(
    version: Version,
    app_dir: Path,
    upstream_address: str,
    concurrency: int | None = None,
    options: Sequence[str] = (),
    cpu: int | None = SUT_CPU,
    more: Mapping[str, Any] | None = None,
) -> Generator[Running]:
    """`hermod serve` with one provider, `openai`, that is the mock upstream.

    `more`: other sections of its configuration.
    """
    write_config(app_dir, upstream_address, concurrency, more)
    running = start_gateway(version, app_dir, free_port(), options, cpu)
    try:
        wait_until_ready(running, "/health/readiness", app_dir / "serve.log")
        yield running
    finally:
        stop(running.process)


def write_config(
    app_dir: Path,
    upstream_address: str,
    concurrency: int | None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """The app dir of a gateway."""
    app_dir.mkdir(parents=True, exist_ok=True)
    provider: dict[str, Any] = {
        "keys": [{"name": "bench", "value": "sk-bench", "models": ["*"], "weight": 1}],
        "network_config": {"base_url": upstream_address},
    }
    if concurrency is not None:
        provider["concurrency_and_buffer_size"] = {"concurrency": concurrency}
    config = {"providers": {"openai": provider}, **(more or {})}
    (app_dir / "config.json").write_text(json.dumps(config))


def start_gateway(
    version: Version,
    app_dir: Path,
    port: int,
    options: Sequence[str] = (),
    cpu: int | None = SUT_CPU,
) -> Running:
    """Start the program; it is not ready yet."""
    command = [version.hermod, "serve", "--port", str(port), "--app-dir", app_dir, *options]
    return Running(spawn(command, cpu, app_dir / "serve.log"), port)


def load(plan: Plan) -> Figures:
    """Run the load generator. Raises Failed."""
    limit_s = plan.warmup_s + plan.seconds + _PLAN_MARGIN_S
    said = run_module(sys.executable, "bench.load", msgspec.json.encode(plan), limit_s, LOAD_CPU)
    return msgspec.json.decode(said, type=Figures)


def run_module(
    python: str | Path, name: str, said: bytes, limit_s: float, cpu: int | None
) -> bytes:
    """Run a module of ours to its end, with `said` on its stdin; its stdout. Raises Failed."""
    pin(0, cpu)
    try:
        done = subprocess.run(
            [python, "-m", name],
            cwd=ROOT,
            input=said,
            capture_output=True,
            timeout=limit_s,
            check=True,
        )
    except subprocess.CalledProcessError as failed:
        raise Failed(f"{name} failed: {failed.stderr.decode()[-2000:]}") from failed
    except subprocess.TimeoutExpired as late:
        raise Failed(f"{name} did not end") from late
    finally:
        pin(0, LOAD_CPU)
    return done.stdout


def body(model: str, text: str = "") -> Mapping[str, object]:
    """Payload S of product.md 3.2: 0.2 KB."""
    content = text or "Say what the weather is like on the way to Hel. " * 3
    return {"model": f"openai/{model}", "messages": [{"role": "user", "content": content}]}
