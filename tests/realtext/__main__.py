"""`python -m tests.realtext`: a thousand real texts as jobs, and some as streamed calls, through an
upstream that is not ours.

The upstream is llama.cpp's HTTP server, installed into `.cache/realtext/env`, with a tiny model
that is made on the spot. Exit code 1 when a job did not complete or has another text's answer.
"""

import argparse
import json
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import httpx

import hermod
from tests.realtext import jobs
from tests.realtext.kinds import KINDS, Answer
from tests.realtext.report import Run, faults, figures, table
from tests.realtext.texts import read_texts
from tests.realtext.upstream import CACHE, Upstream, environment
from tests.support.database import rows
from tests.support.program import Gateway

_RESULTS: Final = Path(__file__).resolve().parents[2] / "bench" / "results"
_TEXTS: Final = 1000
_ATTEMPTS: Final = """
    SELECT kind, job.lane, mode = 'sync', attempt.state, count(*)
    FROM attempt JOIN job USING (seq) GROUP BY 1, 2, 3, 4
"""


def main() -> int:
    """Run, report, judge."""
    parser = argparse.ArgumentParser(prog="python -m tests.realtext")
    parser.add_argument("--texts", type=int, default=_TEXTS, help="fewer leave no report")
    parser.add_argument("--patience", type=float, default=900.0, help="seconds for all jobs")
    options = parser.parse_args()
    CACHE.mkdir(parents=True, exist_ok=True)
    _say("the upstream's environment")
    python = environment()
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=CACHE))
    wanted = jobs.tasks(read_texts(options.texts), KINDS)
    with Upstream(python, folder) as upstream:
        _say(f"{len(wanted)} calls to {upstream.name}, without a gateway")
        began = time.monotonic()
        expected = jobs.ask_directly(upstream, wanted)
        direct_seconds = time.monotonic() - began
    # Another one, so that its counters know of the jobs alone.
    with Upstream(python, folder) as upstream:
        _say(f"{len(wanted)} jobs")
        run = _through_the_gateway(upstream, folder, wanted, expected, options.patience)
    found = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "hermod": hermod.__version__,
        "python": platform.python_version(),
        "upstream": upstream.name,
        **figures(run, direct_seconds),
    }
    found["faults"] = faults(found)
    report = json.dumps(found, indent=1, ensure_ascii=False) + "\n"
    print(table(found))
    if found["faults"]:
        (folder / "report.json").write_text(report, "utf-8")
        print("", *(f"FAULT: {fault}" for fault in found["faults"]), sep="\n")
        print(f"logs, data and report: {folder}")
        return 1
    if options.texts >= _TEXTS:
        path = _RESULTS / f"realtext-{found['date']}.json"
        path.write_text(report, "utf-8")
        print(f"\nreport: {path}")
    shutil.rmtree(folder)
    return 0


def _through_the_gateway(
    upstream: Upstream,
    folder: Path,
    wanted: Sequence[jobs.Task],
    expected: Sequence[Answer],
    patience_s: float,
) -> Run:
    config = {"providers": upstream.providers()}
    with Gateway(folder / "data", config=config) as gateway:
        began = time.monotonic()
        with httpx.Client(base_url=gateway.url, timeout=60.0, trust_env=False) as http:
            ended = jobs.run(http, wanted, expected, patience_s)
        seconds = time.monotonic() - began
        gateway.send(signal.SIGTERM)
        exit_code = gateway.wait_exit()
        (folder / "gateway.log").write_text(gateway.output, "utf-8")
    names = {(kind.stored, kind.provider, kind.streams): kind.name for kind in KINDS}
    attempts = [
        (names[kind, lane, bool(is_sync)], str(state), int(n))
        for kind, lane, is_sync, state, n in rows(folder / "data", _ATTEMPTS)
    ]
    return Run(ended, attempts, *upstream.tokens(), seconds, exit_code)


def _say(text: str) -> None:
    print(f"· {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
