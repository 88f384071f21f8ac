"""`python -m bench`: measure, print a table, keep the raw figures."""

import argparse
import datetime
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench import adapters, callers, full, rows, scale
from bench.machine import LOAD_CPU, description, pin
from bench.processes import ROOT, Failed, Version
from bench.report import summary, table
from bench.run import Bench, Results

_ROWS: Final[dict[str, Callable[[Bench], None]]] = {
    "submits": rows.submits,
    "jobs": rows.whole_jobs,
    "sync": rows.synchronous,
    "callers": callers.callers,
    "backlog": rows.backlog,
    "recovery": rows.recovery,
    "postgres": scale.postgres,
    "wake": scale.wake,
    "processes": scale.processes,
    "adapters": adapters.adapters,
    "verbs": full.verbs,
}
_DISTRIBUTIONS: Final = (
    "hermod-gateway", "httptools", "uvloop", "msgspec", "apsw", "asyncpg",
)  # fmt: skip


def main() -> int:
    """Run what the options ask for."""
    options = _options()
    pin(0, LOAD_CPU)
    versions = [Version("this", options.this.resolve())]
    if options.against:
        versions.append(Version("other", options.against.resolve()))
    for version in versions:
        if not version.hermod.exists():
            print(f"{version.hermod} is missing: run `make serve` or `make test` there first")
            return 2
    results = Results()
    # Beside the results: the system's temporary folder may be in memory, where a commit is free.
    folder = Path(tempfile.mkdtemp(prefix=".run-", dir=ROOT / "bench/results"))
    machine = description(folder)
    bench = Bench(
        versions=versions,
        seconds=options.seconds,
        repetitions=options.repetitions,
        backlog=options.backlog,
        finished=options.finished,
        folder=folder,
        results=results,
        say=lambda text: print(f"· {text}", file=sys.stderr, flush=True),
    )
    status = 0
    try:
        for name in options.rows:
            if name == "backlog" and not options.backlog:
                continue
            _ROWS[name](bench)
    except Failed as failed:
        print(f"stopped: {failed}\nlogs and data: {folder}", file=sys.stderr)
        status = 1
    else:
        shutil.rmtree(folder)
    raw = _raw(options, machine, versions, results)
    path = _result_path(options, versions[0])
    path.write_text(json.dumps(raw, indent=1, ensure_ascii=False) + "\n")
    print(table(results, [version.name for version in versions]))
    print(f"\nraw figures: {path}")
    return status


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5, help="length of one measurement")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--backlog", type=int, default=100_000, help="queued jobs; 0 skips the row")
    parser.add_argument(
        "--finished", type=int, default=1_000_000, help="finished jobs of the row `verbs`"
    )
    parser.add_argument("--quick", action="store_true", help="2 s, once, few jobs in the store")
    parser.add_argument("--json", type=Path, help="where the raw figures go")
    parser.add_argument("--this", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--against", type=Path, help="another checkout, measured in turn with it")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"some of: {' '.join(_ROWS)}")
    options = parser.parse_args()
    if unknown := [row for row in options.rows if row not in _ROWS]:
        parser.error(f"unknown row {unknown[0]}")
    options.rows = options.rows or list(_ROWS)
    if options.quick:
        options.seconds, options.repetitions = 2, 1
        options.backlog = min(options.backlog, 10_000)
        options.finished = min(options.finished, 100_000)
    return options


def _raw(
    options: argparse.Namespace,
    machine: dict[str, object],
    versions: list[Version],
    results: Results,
) -> dict[str, object]:
    return {
        "command": "python -m bench " + " ".join(sys.argv[1:]),
        "at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine,
        "seconds": options.seconds,
        "repetitions": options.repetitions,
        "backlog": options.backlog,
        "finished": options.finished,
        "versions": {version.name: _version(version) for version in versions},
        "summary": {version.name: summary(results, version.name) for version in versions},
        "doubts": results.doubts,
        **results.notes,
        "values": results.values,
        "runs": results.runs,
    }


def _version(version: Version) -> dict[str, object]:
    script = (
        "import apsw, importlib.metadata as m, json, platform, sys;"
        "print(json.dumps({'python': platform.python_version(), 'sqlite': apsw.sqlitelibversion()}"
        "| {n: m.version(n) for n in sys.argv[1:]}))"
    )
    shown = _output([str(version.python), "-c", script, *_DISTRIBUTIONS])
    return {
        "commit": _output(["git", "-C", str(version.root), "rev-parse", "HEAD"]),
        "changed": bool(_output(["git", "-C", str(version.root), "status", "--porcelain"])),
        **(json.loads(shown) if shown else {}),
    }


def _result_path(options: argparse.Namespace, version: Version) -> Path:
    if options.json:
        path: Path = options.json
        return path
    commit = _output(["git", "-C", str(version.root), "rev-parse", "--short", "HEAD"])
    today = datetime.datetime.now(datetime.UTC).date()
    name = re.sub(r"[^0-9a-z-]", "", f"{today}-{commit or 'uncommitted'}")
    return ROOT / "bench/results" / f"{name}.json"


def _output(command: list[str]) -> str:
    """What a command prints; nothing if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


if __name__ == "__main__":
    sys.exit(main())
