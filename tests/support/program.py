"""The installed program and its mock upstream, as processes."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.database import is_writable
from tests.support.waiting import wait_until

HERMOD = Path(sys.executable).with_name("hermod")


class Program:
    """A process of ours whose output is kept."""

    def __init__(
        self,
        *arguments: str,
        ready: str,
        environ: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        program: Path = HERMOD,
    ):
        clean = {name: value for name, value in os.environ.items() if not _ours(name)}
        self.process = subprocess.Popen(
            [str(program), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**clean, **(environ or {})},
            cwd=cwd,
            text=True,
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._ready = re.compile(ready)
        self._found: re.Match[str] | None = None
        self._told = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self._lines.append(line)
                if self._found is None and (found := self._ready.search(line)):
                    self._found = found
                    self._told.set()
        self._told.set()

    @property
    def output(self) -> str:
        """Everything it has printed and logged so far."""
        return "".join(self._lines)

    def wait_ready(self, timeout_s: float = 30.0) -> re.Match[str]:
        """What the line that says it is ready matched."""
        assert self._told.wait(timeout_s), f"not ready in {timeout_s} s:\n{self.output}"
        assert self._found is not None, f"ended before it was ready:\n{self.output}"
        return self._found

    def send(self, number: signal.Signals) -> None:
        """A signal to this process alone."""
        self.process.send_signal(number)

    def wait_exit(self, timeout_s: float = 40.0) -> int:
        """Its exit code."""
        code = self.process.wait(timeout_s)
        self._reader.join(10)
        return code

    def kill(self) -> None:
        """`kill -9`, and gone."""
        self.process.kill()
        self.process.wait(30)
        self._reader.join(10)

    def children(self) -> list[int]:
        """The process ids of its children, the oldest first."""
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def is_stopped(self) -> bool:
        """Whether a SIGSTOP has taken effect."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return re.search(r"^State:\s+T", status, re.MULTILINE) is not None

    def rss_mb(self) -> float:
        """Resident memory, in MiB."""
        return self._memory_mb("VmRSS")

    def peak_rss_mb(self) -> float:
        """The most it has been since the last call of `forget_peak_rss`, in MiB."""
        return self._memory_mb("VmHWM")

    def forget_peak_rss(self) -> None:
        """Have the peak counted from now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5", "ascii")

    def _memory_mb(self, line: str) -> float:
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(rf"{line}:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.kill()


class Gateway(Program):
    """`hermod serve` on a free port, or on a fixed one when it has to come back."""

    def __init__(
        self,
        app_dir: Path,
        *flags: str,
        config: Mapping[str, Any] | None = None,
        port: int = 0,
        environ: Mapping[str, str] | None = None,
        program: Path = HERMOD,
    ):
        app_dir.mkdir(parents=True, exist_ok=True)
        if config is not None:
            (app_dir / "config.json").write_text(json.dumps(config), "utf-8")
        super().__init__(
            "serve",
            "--port",
            str(port),
            "--app-dir",
            str(app_dir),
            *flags,
            ready=r"listening\s+(http://\S+)",
            environ=environ,
            program=program,
        )
        self.app_dir = app_dir

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.wait_ready()[1]

    def freeze(self) -> None:
        """SIGSTOP, between two commits to the embedded database.

        A process that is stopped in the middle of one holds the file's write lock: until it wakes,
        no other process of its machine can write (docs/explanation/guarantees.md).
        """
        for _ in range(50):
            self.send(signal.SIGSTOP)
            wait_until(self.is_stopped)
            if is_writable(self.app_dir, patience_s=0.5):
                return
            self.send(signal.SIGCONT)
        raise AssertionError("it is always in the middle of a commit")

    @property
    def port(self) -> int:
        """The port of `url`."""
        port = httpx.URL(self.url).port
        assert port is not None
        return port


class MockUpstream(Program):
    """`hermod mock-upstream` on a free port."""

    def __init__(self, *flags: str):
        super().__init__(
            "mock-upstream", "--port", "0", *flags, ready=r"mock upstream on (http://\S+)"
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.wait_ready()[1]

    def provider(self, **settings: Any) -> dict[str, Any]:
        """A provider of config.json whose upstream this is."""
        network = {"base_url": self.url, **settings.pop("network_config", {})}
        return {
            "keys": [{"name": "main", "value": "sk-upstream-secret", "weight": 1}],
            "network_config": network,
            **settings,
        }


def openai_config(upstream: MockUpstream, **hermod: Any) -> dict[str, Any]:
    """A config.json with `openai` at the mock upstream, and settings of our own section."""
    return {"providers": {"openai": upstream.provider()}, "hermod": hermod}


@contextmanager
def client(gateway: Gateway) -> Generator[httpx.Client]:
    """An HTTP client that shares no code with the gateway."""
    with httpx.Client(base_url=gateway.url, timeout=30.0, trust_env=False) as opened:
        yield opened


def chat(text: str = "hi", model: str = "mock/echo", **more: Any) -> dict[str, Any]:
    """A chat completion request."""
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def submit(http: httpx.Client, body: Mapping[str, Any], path: str = "chat/completions") -> str:
    """The id of an accepted job."""
    response = http.post(f"/v1/async/{path}", json=body)
    assert response.status_code == 202, response.text
    return response.json()["id"]


def wait_done(
    http: httpx.Client, job_id: str, path: str = "chat/completions", timeout_s: float = 30.0
) -> dict[str, Any]:
    """The job once it has ended."""
    seen: list[httpx.Response] = []

    def done() -> bool:
        seen[:] = [http.get(f"/v1/async/{path}/{job_id}")]
        assert seen[0].status_code in (200, 202), seen[0].text
        return seen[0].status_code == 200

    wait_until(done, timeout_s=timeout_s)
    return seen[0].json()


def _ours(name: str) -> bool:
    """Whether a variable of the developer's environment could change what a test sees."""
    return name.startswith("HERMOD_") or name.endswith(("_KEY", "_HOST"))
