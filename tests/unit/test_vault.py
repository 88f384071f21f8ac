"""vault.py: secrets of jobs, sealed and opened."""

import asyncio
import base64
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from hermod.domain.provider import Secret
from hermod.vault import CannotOpen, Cipher, NoKey, Vault, VaultError

PLAIN = b"canary \x00\xff of any bytes"
JOB = "0190-job"
CHEAP = 2
"""Of scrypt: tests need not be slow for a thief."""
CIPHER = Cipher(bytes(range(40)), bytes(16))
SEALED = CIPHER.seal(PLAIN, JOB)


def test_what_was_sealed_comes_back() -> None:
    assert CIPHER.open(SEALED, JOB) == PLAIN


def test_nothing_of_it_can_be_seen() -> None:
    raw = base64.b64decode(SEALED.rpartition(":")[2])
    assert len(raw) == 16 + 12 + len(PLAIN) + 16
    assert b"canary" not in raw
    assert CIPHER.seal(PLAIN, JOB) != SEALED


def test_a_sealed_text_names_its_version_and_its_key() -> None:
    assert SEALED.split(":")[:2] == ["v1", CIPHER.id]


def test_another_job_cannot_use_it() -> None:
    with pytest.raises(CannotOpen, match="another job"):
        CIPHER.open(SEALED, "0190-other")


@pytest.mark.parametrize("at", range(0, 16 + 12 + len(PLAIN) + 16, 5))
def test_a_changed_byte_is_noticed(at: int) -> None:
    head, _, text = SEALED.rpartition(":")
    raw = bytearray(base64.b64decode(text))
    raw[at] ^= 1
    with pytest.raises(CannotOpen):
        CIPHER.open(f"{head}:{base64.b64encode(raw).decode()}", JOB)


@pytest.mark.parametrize(
    "broken",
    [
        lambda text: "",
        lambda text: text[:-1],
        lambda text: text[: len(text) // 2],
        lambda text: text.replace("v1:", "v2:"),
        lambda text: text.replace(CIPHER.id, "0" * 16),
        lambda text: f"v1:{CIPHER.id}:",
        lambda text: f"v1:{CIPHER.id}:" + base64.b64encode(bytes(16)).decode(),
        lambda text: f"v1:{CIPHER.id}:é",
        lambda text: "plain text",
    ],
)
def test_what_is_no_sealed_text_cannot_be_opened(broken: Callable[[str], str]) -> None:
    with pytest.raises(CannotOpen):
        CIPHER.open(broken(SEALED), JOB)


# The gateway's key


def configured(key: str = "an operator's key") -> Vault:
    return Vault(Secret(key), cost=CHEAP)


async def test_processes_with_one_key_open_what_others_have_sealed() -> None:
    first, second = configured(), configured()
    ours, theirs = await first.seal(PLAIN, JOB), await second.seal(PLAIN, JOB)
    assert ours.split(":")[1] != theirs.split(":")[1]
    assert await second.open(ours, JOB) == await first.open(theirs, JOB) == PLAIN


async def test_another_key_opens_nothing() -> None:
    sealed = await configured().seal(PLAIN, JOB)
    with pytest.raises(CannotOpen, match="another key"):
        await configured("another one").open(sealed, JOB)


async def test_a_changed_text_is_told_from_another_key() -> None:
    vault = configured()
    sealed = await vault.seal(PLAIN, JOB)
    with pytest.raises(CannotOpen, match="changed"):
        await vault.open(sealed, "0190-other")


async def test_without_a_key_nothing_is_sealed_and_nothing_opened() -> None:
    assert not Vault().has_key
    with pytest.raises(NoKey):
        await Vault().seal(PLAIN, JOB)
    with pytest.raises(CannotOpen):
        await Vault().open(await configured().seal(PLAIN, JOB), JOB)


async def test_what_is_sealed_in_passing_needs_no_key_and_is_for_this_process_alone() -> None:
    vault = Vault()
    sealed = vault.seal_in_passing(PLAIN, JOB)
    assert await vault.open(sealed, JOB) == PLAIN
    for other in (Vault(), configured()):
        with pytest.raises(CannotOpen):
            await other.open(sealed, JOB)


# The key in a file


def names_in(folder: Path) -> list[str]:
    """Everything that lies there."""
    return [each.name for each in folder.iterdir()]


async def test_a_key_is_made_when_it_is_needed_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "app" / "encryption.key"
    vault = Vault(key_file=path, cost=CHEAP)
    assert vault.has_key
    assert not path.exists()
    sealed = await vault.seal(PLAIN, JOB)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert names_in(path.parent) == ["encryption.key"]
    assert await Vault(key_file=path, cost=CHEAP).open(sealed, JOB) == PLAIN


async def test_opening_makes_no_key(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    sealed = await configured().seal(PLAIN, JOB)
    with pytest.raises(CannotOpen):
        await Vault(key_file=path, cost=CHEAP).open(sealed, JOB)
    assert not path.exists()


async def test_all_who_need_a_key_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    vaults = [Vault(key_file=path, cost=CHEAP) for _ in range(4)]
    sealed = await asyncio.gather(*[each.seal(PLAIN, JOB) for each in vaults])
    assert {await vaults[0].open(each, JOB) for each in sealed} == {PLAIN}
    assert names_in(tmp_path) == ["encryption.key"]


@pytest.mark.parametrize("held", ["", "short", "g" * 64])
async def test_a_file_without_a_key_is_never_written_over(tmp_path: Path, held: str) -> None:
    path = tmp_path / "encryption.key"
    path.write_text(held, "ascii")
    with pytest.raises(VaultError, match=r"encryption\.key holds no key"):
        await Vault(key_file=path, cost=CHEAP).seal(PLAIN, JOB)
    assert path.read_text("ascii") == held


async def test_a_file_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    path.mkdir()
    with pytest.raises(OSError, match=r"encryption\.key"):
        await Vault(key_file=path, cost=CHEAP).seal(PLAIN, JOB)


async def test_the_key_is_derived_once_for_many_at_once() -> None:
    vault = configured()
    sealed = await asyncio.gather(*[vault.seal(PLAIN, str(n)) for n in range(20)])
    assert len({each.split(":")[1] for each in sealed}) == 1
