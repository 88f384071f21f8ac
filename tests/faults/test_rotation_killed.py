"""F1: `hermod secrets rotate` dies while it seals everything anew; every secret opens all the same.

`make test` takes one of its points, `make faults` all of them.
"""

import asyncio
import json
import os
import signal
from collections.abc import Mapping
from typing import Any, Final

import pytest

from hermod.domain.document import Changed, Document, Put
from hermod.domain.failpoint import NAMES
from hermod.domain.options import Options
from hermod.domain.provider import Secret
from hermod.store.api import Store
from hermod.vault import CannotOpen, Vault
from tests.faults.places import Place
from tests.faults.points import ROTATES
from tests.faults.verbs import US, check_books, new_job, opened
from tests.support.program import HERMOD

OLD: Final = Secret("the key before")
NEW: Final = Secret("the key in force")
PLAIN: Final = b"a secret"
PROVIDER: Final = "azure"
JOBS: Final = 3
SAMPLE: Final = ("reseal_jobs.after_commit",)
POINTS: Final = tuple(
    name for name in NAMES if name.partition(".")[0] in (*ROTATES, "change_documents")
)
"""Which `rotate` passes once it has begun to change something."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """All points, or one."""
    if "point" in metafunc.fixturenames:
        is_long = metafunc.config.getoption("--all-points", default=False)
        metafunc.parametrize("point", POINTS if is_long else SAMPLE)


async def fill(store: Store) -> None:
    """A provider and jobs, sealed with the key before."""
    vault = Vault(OLD)
    sealed = await vault.seal(PLAIN, f"provider:{PROVIDER}")
    body = json.dumps({"sealed": sealed, "more": 1}).encode()
    made = await store.change_documents([Put(Document("provider", PROVIDER, PROVIDER, None, body))])
    assert isinstance(made, Changed)
    for _ in range(JOBS):
        job = new_job()
        options = Options(labels={"a": "ü"}, sealed=await vault.seal(PLAIN, job.id))
        await store.submit_job(job._replace(options=options.encode()))


async def secrets_of(place: Place) -> Mapping[str, str]:
    """What is sealed there, by what it is about. Whatever lies beside it must be as it was."""
    found: dict[str, str] = {}
    async with opened(place.store()) as store:
        _, (document,) = await store.read_documents()
        members: dict[str, Any] = json.loads(document.body)
        found[f"provider:{PROVIDER}"] = members.pop("sealed")
        assert members == {"more": 1}
        for job in (await store.read_sealed_jobs(None, 99)).jobs:
            options = Options.decode(job.options)
            assert options.labels == {"a": "ü"}
            assert options.sealed is not None
            found[job.id] = options.sealed
    assert len(found) == 1 + JOBS
    return found


async def opens(vault: Vault, about: str, sealed: str) -> bool:
    try:
        return await vault.open(sealed, about) == PLAIN
    except CannotOpen:
        return False


async def rotate(place: Place, failpoints: str = "") -> tuple[int | None, str]:
    """Exit code and output of the command."""
    app_dir, url = place.home("rotating")
    environ = {
        "PATH": os.environ["PATH"],
        "HERMOD_ENCRYPTION_KEY": NEW.reveal(),
        "HERMOD_ENCRYPTION_KEY_PREVIOUS": OLD.reveal(),
        "HERMOD_FAILPOINTS": failpoints,
    }
    flags = ("--app-dir", str(app_dir), "--database", url)
    child = await asyncio.create_subprocess_exec(
        *(str(HERMOD), "secrets", "rotate", *flags),
        env=environ,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await child.communicate()
    return child.returncode, said.decode()


async def test_a_rotation_that_is_killed_leaves_every_secret_to_one_of_the_keys(
    place: Place, point: str
) -> None:
    async with opened(place.store()) as store:
        await fill(store)
    code, said = await rotate(place, f"{point}=kill")
    assert code == -signal.SIGKILL, said
    both = Vault(NEW, previous=(OLD,))
    for about, sealed in (await secrets_of(place)).items():
        assert await opens(both, about, sealed), about

    code, said = await rotate(place)
    assert code == 0, said
    only = Vault(NEW)
    for about, sealed in (await secrets_of(place)).items():
        assert await opens(only, about, sealed), about
    check_books(await place.stored())
    async with opened(place.store()) as store:
        claimed = await store.claim_jobs("openai", 9, US)
        assert len(claimed) == JOBS
