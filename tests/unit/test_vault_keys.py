"""vault.py and encryption_key.py: several keys, while the key is being changed."""

from pathlib import Path
from typing import Final

import pytest

from hermod.domain.provider import NO_SECRET, Secret
from hermod.encryption_key import KeyFile, NoKey, VaultError
from hermod.vault import CannotOpen, Sealing, Vault

PLAIN: Final = b"canary \x00\xff of any bytes"
JOB: Final = "0190-job"
CHEAP: Final = 2
OLD, NEW = Secret("the key before"), Secret("the key in force")
OF_0_4_0: Final = (
    "v1:497eab53b113d775:HFeqbn1LlDxg3NlHUhyCyD0m1tb1bez8V4aeUE/2bjAss+6Cc/5Vw9KKjEvC+tN3jO7lshIgB"
    "9i0Ib9rBNaP1Vw="
)
KEY_OF_0_4_0: Final = Secret("an operator's key of 0.4.0")


async def sealed_by(key: Secret) -> str:
    """By a process with this key alone."""
    return await Vault(key, cost=CHEAP).seal(PLAIN, JOB)


# Keys of the operator


@pytest.mark.parametrize("keys", [(KEY_OF_0_4_0,), (NEW, KEY_OF_0_4_0)])
async def test_what_release_0_4_0_has_sealed_can_be_opened(keys: tuple[Secret, ...]) -> None:
    vault = Vault(keys[0], previous=keys[1:])
    assert await vault.open(OF_0_4_0, JOB) == b"what 0.4.0 has sealed"


async def test_the_key_before_opens_what_it_has_sealed() -> None:
    vault = Vault(NEW, previous=[OLD], cost=CHEAP)
    for key in (OLD, NEW):
        assert await vault.open(await sealed_by(key), JOB) == PLAIN


async def test_only_the_key_in_force_seals() -> None:
    sealed = await Vault(NEW, previous=[OLD], cost=CHEAP).seal(PLAIN, JOB)
    assert await Vault(NEW, cost=CHEAP).open(sealed, JOB) == PLAIN
    with pytest.raises(CannotOpen, match="another key"):
        await Vault(OLD, cost=CHEAP).open(sealed, JOB)


async def test_the_key_before_alone_opens_and_does_not_seal() -> None:
    vault = Vault(previous=[OLD], cost=CHEAP)
    assert await vault.open(await sealed_by(OLD), JOB) == PLAIN
    with pytest.raises(NoKey):
        await vault.seal(PLAIN, JOB)


async def test_it_is_known_which_key_has_sealed_a_text() -> None:
    vault = Vault(NEW, previous=[OLD], cost=CHEAP)
    assert await vault.sealing(await sealed_by(NEW)) is Sealing.CURRENT
    assert await vault.sealing(await sealed_by(OLD)) is Sealing.OLDER
    for unknown in (await sealed_by(Secret("another")), "no sealed text", ""):
        assert await vault.sealing(unknown) is Sealing.UNKNOWN


async def test_a_text_is_sealed_anew_once() -> None:
    vault = Vault(NEW, previous=[OLD], cost=CHEAP)
    anew = await vault.resealed(await sealed_by(OLD), JOB)
    assert anew is not None
    assert await Vault(NEW, cost=CHEAP).open(anew, JOB) == PLAIN
    assert await vault.resealed(anew, JOB) is None


async def test_a_text_of_something_else_is_not_sealed_anew() -> None:
    vault = Vault(NEW, previous=[OLD], cost=CHEAP)
    with pytest.raises(CannotOpen):
        await vault.resealed(await sealed_by(OLD), "0190-other")
    with pytest.raises(CannotOpen):
        await vault.resealed(await sealed_by(Secret("another")), JOB)


# The key in a file


def in_file(path: Path, key: Secret = NO_SECRET) -> Vault:
    """Of a process on an embedded database."""
    return Vault(key, path, cost=CHEAP)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the key is to lie."""
    return tmp_path / "app" / "encryption.key"


def files(path: Path) -> dict[str, str]:
    """What lies beside the database, and what it says."""
    return {each.name: each.read_text("ascii").strip() for each in path.parent.iterdir()}


def lost(path: Path) -> None:
    """Somebody has removed it."""
    path.unlink()


def broken(path: Path) -> None:
    """Somebody has written into it."""
    path.parent.mkdir()
    path.write_text("broken", "ascii")


async def test_a_process_that_runs_seals_with_the_new_key_at_once(path: Path) -> None:
    running = in_file(path)
    before = await running.seal(PLAIN, JOB)
    assert KeyFile(path).replace()
    after = await running.seal(PLAIN, JOB)
    assert await running.sealing(before) is Sealing.OLDER
    assert await running.sealing(after) is Sealing.CURRENT
    KeyFile(path).forget_previous()
    assert await in_file(path).open(after, JOB) == PLAIN


async def test_a_process_that_runs_opens_what_others_seal_with_the_new_key(path: Path) -> None:
    running = in_file(path)
    await running.seal(PLAIN, JOB)
    KeyFile(path).replace()
    KeyFile(path).forget_previous()
    sealed = await in_file(path).seal(PLAIN, JOB)
    assert await running.open(sealed, JOB) == PLAIN


async def test_until_it_is_forgotten_every_process_opens_with_the_key_before(path: Path) -> None:
    sealed = await in_file(path).seal(PLAIN, JOB)
    KeyFile(path).replace()
    assert await in_file(path).open(sealed, JOB) == PLAIN
    KeyFile(path).forget_previous()
    with pytest.raises(CannotOpen):
        await in_file(path).open(sealed, JOB)


async def test_a_process_still_opens_what_it_has_sealed_itself(path: Path) -> None:
    running = in_file(path)
    sealed = await running.seal(PLAIN, JOB)
    KeyFile(path).replace()
    KeyFile(path).forget_previous()
    await running.seal(PLAIN, JOB)
    assert await running.open(sealed, JOB) == PLAIN


async def test_a_file_that_is_gone_changes_nothing_for_who_has_its_key(path: Path) -> None:
    running = in_file(path)
    before = await running.seal(PLAIN, JOB)
    lost(path)
    after = await running.seal(PLAIN, JOB)
    assert before.split(":")[1] == after.split(":")[1]
    assert files(path) == {}


async def test_an_operators_key_takes_the_place_of_the_file_and_the_file_still_opens(
    path: Path,
) -> None:
    sealed = await in_file(path).seal(PLAIN, JOB)
    vault = in_file(path, NEW)
    assert await vault.sealing(sealed) is Sealing.OLDER
    anew = await vault.resealed(sealed, JOB)
    assert anew is not None
    lost(path)
    assert await in_file(path, NEW).open(anew, JOB) == PLAIN
    assert files(path) == {}


async def test_a_broken_file_does_not_matter_beside_an_operators_key(path: Path) -> None:
    broken(path)
    vault = in_file(path, NEW)
    assert await vault.open(await vault.seal(PLAIN, JOB), JOB) == PLAIN


# Changing the file


def test_a_new_key_takes_the_place_of_the_old_one_which_is_kept(path: Path) -> None:
    file = KeyFile(path)
    first = file.make()
    assert file.replace()
    found = files(path)
    assert found.keys() == {"encryption.key", "encryption.key.previous"}
    assert found["encryption.key.previous"] == first != found["encryption.key"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_change_that_was_begun_is_not_begun_again(path: Path) -> None:
    file = KeyFile(path)
    file.make()
    file.replace()
    found = files(path)
    assert not file.replace()
    assert files(path) == found


def test_a_change_that_ended_before_the_new_key_was_there_is_begun_again(path: Path) -> None:
    file = KeyFile(path)
    first = file.make()
    path.with_name("encryption.key.previous").hardlink_to(path)
    assert file.replace()
    assert file.read_previous() == first != file.read()


def test_without_a_key_there_is_nothing_to_change(path: Path) -> None:
    path.parent.mkdir()
    with pytest.raises(NoKey):
        KeyFile(path).replace()
    assert files(path) == {}


def test_a_file_without_a_key_is_not_replaced(path: Path) -> None:
    broken(path)
    with pytest.raises(VaultError, match="holds no key"):
        KeyFile(path).replace()
    assert files(path) == {"encryption.key": "broken"}


def test_only_one_changes_it_at_a_time(path: Path) -> None:
    KeyFile(path).make()
    with (
        KeyFile(path).held(),
        pytest.raises(VaultError, match="somebody else"),
        KeyFile(path).held(),
    ):
        pass
    with KeyFile(path).held():
        pass


def test_forgetting_what_is_not_there_is_no_error(path: Path) -> None:
    KeyFile(path).make()
    KeyFile(path).forget_previous()
    assert files(path).keys() == {"encryption.key"}
