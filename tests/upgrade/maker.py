"""Submits jobs to the release before, and keeps the record of what became of them."""

import hashlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from tests.acceptance.test_ordered_work import Predictions
from tests.faults.places import Place, config_for, state_of
from tests.support.program import Gateway, client
from tests.support.upstream import Upstream
from tests.support.waiting import wait_until
from tests.support.wire import CHAT, Kind
from tests.upgrade.release_before import Release
from tests.upgrade.stored import TOKEN, Job, cost_of, secrets_of

CENTURY_S: Final = 36_500 * 86_400
_PATIENT: Final = f"""
import sys
import hermod.config.load
from hermod.cli.main import main
sys.modules["hermod.config.load"]._YEAR_S = {CENTURY_S}
sys.argv[0] = "hermod"
main()
"""
_SHOWN: Final = 1_024
"""Characters of an answer that are recorded for people to read; its digest always is."""
PRICES: Final[Mapping[str, Any]] = {
    "openai/*": {"input_usd_per_mtok": 2.5, "output_usd_per_mtok": 10}
}


class Upstreams:
    """Where the calls of a gateway go."""

    def __init__(self, openai: Upstream, replicate: Predictions) -> None:
        self.openai = openai
        self.replicate = replicate

    def config(self, **ours: Any) -> dict[str, Any]:
        """The configuration of such a gateway, with these settings of our section."""
        config = config_for({"prices": PRICES, **ours}, openai=self.openai.url)
        config["providers"] |= self.replicate.config["providers"]
        config["client"] = {"max_request_body_size_mb": 2, "allow_direct_keys": True}
        return config


class Maker:
    """The release before at work on one database."""

    def __init__(self, place: Place, release: Release, upstreams: Upstreams) -> None:
        self.place = place
        self.upstreams = upstreams
        self.jobs: list[Job] = []
        self._release = release
        self._patient = release.program("hermod-patient", "-c", _PATIENT)

    @contextmanager
    def gateway(self, name: str, **ours: Any) -> Generator[tuple[Gateway, httpx.Client]]:
        """A gateway of the release, killed at the end, and its client."""
        settings = {"upkeep_s": 0.2, "retry_backoff_initial_ms": 10, **ours}
        patient = ours.get("job_deadline_s") == CENTURY_S
        with self.place.start(
            name,
            self.upstreams.config(**settings),
            environ=secrets_of(self.place),
            program=self._patient if patient else self._release.hermod,
        ) as running:
            running.wait_ready()
            with client(running) as http:
                yield running, http
            running.kill()

    def submit(
        self,
        http: httpx.Client,
        body: Job,
        path: str = CHAT.path,
        *,
        headers: Mapping[str, str] | None = None,
        **record: Any,
    ) -> Job:
        """A job whose result stays for a century, unless the headers say otherwise."""
        return self._accepted(http, path, {"json": body}, headers or {}, record)

    def submit_kind(self, http: httpx.Client, kind: Kind, model: str, **record: Any) -> Job:
        """Likewise, the least that this request type takes."""
        return self._accepted(http, kind.path, kind.request(model), {}, record)

    def _accepted(
        self,
        http: httpx.Client,
        path: str,
        request: Mapping[str, Any],
        headers: Mapping[str, str],
        record: Job,
    ) -> Job:
        sent = {"x-bf-async-job-result-ttl": str(CENTURY_S), **headers, **owner(record)}
        response = http.post(f"/v1/async/{path}", headers=sent, **request)
        assert response.status_code == 202, response.text
        self.jobs.append({"path": path, "id": response.json()["id"], **record})
        return self.jobs[-1]

    def finish(self, http: httpx.Client, job: Job) -> None:
        """Wait for a job's end, and record its cost, and the answer byte for byte."""

        def ended() -> bool:
            url = f"/v1/async/{job['path']}/{job['id']}"
            response = http.get(url, headers=owner(job))
            job["answer"] = response.text
            return response.status_code == 200

        wait_until(ended, timeout_s=30)
        assert state_of(self.place, job["id"]) == job["was"], job["answer"]
        job["sha256"] = hashlib.sha256(job["answer"].encode()).hexdigest()
        job["cost"] = cost_of(self.place, job["id"])
        if len(job["answer"]) > _SHOWN:
            del job["answer"]

    def reach(self, job: Job, *attempts: str) -> Job:
        """Wait until a job is in the state in which it is to be left, with such attempts."""

        def reached() -> bool:
            found = tuple(state for _, state, _ in self.place.attempts_of(job["id"]))
            return state_of(self.place, job["id"]) == job["was"] and found == attempts

        wait_until(reached, timeout_s=30)
        return job


def owner(job: Mapping[str, Any]) -> dict[str, str]:
    """The header by which a job's owner is known."""
    return {"authorization": f"Bearer {TOKEN}"} if job.get("owner") == "admin" else {}
