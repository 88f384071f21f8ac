"""`kill -9` at any moment loses nothing, and `hermod torture` can tell. `make torture` is long."""

import json
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hermod.torture.journal import read_history, write_history
from tests.support.postgres import Cluster
from tests.support.postgres_wheel import (
    folder_for_all,
    programs_for,
    server_account,
    site_folder,
)
from tests.support.program import HERMOD, Gateway, chat, client, submit
from tests.support.waiting import wait_until


@pytest.fixture
def database(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    name = re.sub(r"\W+", "_", request.node.name).lower()[:60]
    cluster.create_database(name)
    yield cluster.url(name)
    cluster.drop_database(name)


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    """`hermod torture` to its end."""
    command = [str(HERMOD), "torture", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def passed(*flags: str) -> dict[str, Any]:
    """The verdict of a run that kept every promise."""
    ended = run("--json", "--rate", "200", *flags)
    assert ended.returncode == 0, f"{ended.stdout}\n{ended.stderr}"
    verdict: dict[str, Any] = json.loads(ended.stdout)
    assert verdict["passed"]
    assert verdict["duplicate_calls"] == verdict["duplicates_explained"], verdict
    assert all(budget["drift_nanos"] == 0 for budget in verdict["money"].values()), verdict
    return verdict


def blows(verdict: dict[str, Any], victim: str = "") -> dict[str, int]:
    """How many of each sort, on victims whose name begins so."""
    found: dict[str, int] = {}
    for name, counts in verdict["blows"].items():
        for sort, n in counts.items() if name.startswith(victim) else ():
            found[sort] = found.get(sort, 0) + n
    return found


def test_every_accepted_job_ends_once_although_the_gateway_is_killed(tmp_path: Path) -> None:
    kept = tmp_path / "evidence"
    verdict = passed("--jobs", "200", "--kills", "3", "--seed", "1", "--keep", str(kept))
    assert verdict["accepted"] >= 200
    assert blows(verdict) == {"kill": 3}
    assert verdict["attempts"]["unknown"] > 0
    assert verdict["failed"]["budget_exceeded"] > 0
    again = run("--json", "--check", str(kept))
    assert (again.returncode, json.loads(again.stdout)) == (0, verdict)


def test_a_gateway_killed_while_it_starts_loses_nothing() -> None:
    # All jobs are there long before the last kill, so most of them meet a gateway that starts.
    verdict = passed("--jobs", "40", "--kills", "8", "--seed", "2", "--latency", "900")
    assert blows(verdict)["kill"] == 8


def test_a_gateway_beside_the_killed_one_changes_nothing() -> None:
    flags = ("--gateways", "2", "--workers", "0")
    verdict = passed("--jobs", "200", "--kills", "3", "--freezes", "1", "--seed", "3", *flags)
    assert blows(verdict) == {"kill": 3, "freeze": 1}


def test_two_gateways_and_two_workers_on_one_app_dir_lose_nothing() -> None:
    flags = ("--gateways", "2", "--workers", "2")
    verdict = passed("--jobs", "200", "--kills", "4", "--freezes", "1", "--seed", "4", *flags)
    assert blows(verdict, "gateway")["kill"] == blows(verdict, "worker")["kill"] == 2


def test_two_gateways_and_two_workers_on_postgresql_lose_nothing(database: str) -> None:
    flags = ("--database", database, "--lease-s", "4")
    verdict = passed("--jobs", "200", "--kills", "4", "--freezes", "1", "--seed", "5", *flags)
    assert blows(verdict, "gateway")["kill"] == blows(verdict, "worker")["kill"] == 2
    assert blows(verdict, "worker")["freeze"] == 1


def test_a_postgresql_that_is_killed_too_loses_nothing() -> None:
    # Only its owner may enter pytest's folder, and root runs PostgreSQL as somebody else.
    with tempfile.TemporaryDirectory(dir=folder_for_all()) as folder:
        Path(folder).chmod(0o711)
        binaries = programs_for(server_account(), site_folder(), Path(folder))
        flags = ("--start-postgres", "--postgres-bin", str(binaries), "--lease-s", "4")
        verdict = passed("--jobs", "200", "--kills", "6", "--seed", "6", *flags)
    assert sum(blows(verdict, "database").values()) == 2
    assert verdict["service_back"]["of"] >= 1


def test_a_run_on_postgresql_starts_again_on_the_same_database_only_when_told_to(
    database: str,
) -> None:
    flags = ("--database", database, "--jobs", "20", "--kills", "0")
    first = passed(*flags)
    refused = run(*flags)
    assert refused.returncode == 2
    assert f"this database holds {sum(first['stored'].values())} jobs" in refused.stderr
    second = passed(*flags, "--yes-use-this-database")
    assert sum(second["stored"].values()) == second["accepted"] >= 20


def test_a_run_never_answers_a_job_that_is_not_its_own(tmp_path: Path, database: str) -> None:
    nobody = {"openai": {"keys": [], "network_config": {"base_url": "http://127.0.0.1:1"}}}
    with Gateway(
        tmp_path,
        "--role",
        "api",
        config={"providers": nobody},
        environ={"HERMOD_DATABASE": database},
    ) as gateway:
        with client(gateway) as http:
            submit(http, chat(model="openai/any"))
        refused = run("--database", database, "--yes-use-this-database")
    assert refused.returncode == 2
    assert "1 jobs that have not ended" in refused.stderr


def test_a_broken_promise_ends_with_1_and_is_named(tmp_path: Path) -> None:
    passed("--jobs", "20", "--kills", "0", "--keep", str(tmp_path))
    history = read_history(tmp_path)
    write_history(replace(history, calls=(*history.calls, history.calls[0])), tmp_path)
    found = run("--check", str(tmp_path))
    assert found.returncode == 1
    assert "H5 sent twice" in found.stdout
    assert found.stdout.endswith("FAIL\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_being_stopped_leaves_no_process_behind(tmp_path: Path, number: signal.Signals) -> None:
    kept = tmp_path / "evidence"
    command = [str(HERMOD), "torture", "--keep", str(kept), "--kills", "1", "--jobs", "100000"]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        # Who runs the tests in the background of a shell has it ignored, and so has every child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    ) as running:
        wait_until(lambda: len(processes_with(str(kept))) >= 3, timeout_s=30)
        running.send_signal(number)
        _, told = running.communicate(timeout=60)
    assert running.returncode == 2, told
    assert "stopped" in told
    assert processes_with(str(kept)) == []


def processes_with(word: str) -> list[int]:
    """Those that have it in their command line."""
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            line = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if word.encode() in line:
            found.append(int(path.name))
    return found


def test_a_folder_with_something_in_it_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    refused = run("--keep", str(tmp_path))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "is not empty" in refused.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--database", "sqlite:///jobs.db"), "--database takes postgresql://"),
        (("--database", "postgresql://u:hunter2@h:99999/x"), "port must be a number"),
        (("--database", "postgresql://u:hunter2@127.0.0.1:1/x"), "cannot be reached"),
        (("--start-postgres", "--database", "postgresql://u:hunter2@h/x"), "on one of them"),
        (("--start-postgres", "--postgres-bin", "."), "there is no initdb"),
        (("--latency", "soon"), "--latency: "),
        (("--latency", "lognormal:9,1"), "--latency: the median"),
        (("--rate", "nan"), "--rate: expected a number"),
        (("--lease-s", "nan"), "--lease-s: expected a number"),
    ],
)
def test_what_cannot_run_is_said_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[str, ...], says: str
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    refused = run(*flags)
    assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    assert says in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "hunter2" not in refused.stderr
    assert list(tmp_path.iterdir()) == []
