"""Making providers over the API: what does not need a whole gateway."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from hermod.clock import SystemClock
from hermod.config.provider_object import read_object
from hermod.config.settings import HermodSettings
from hermod.domain.errors import Refused
from hermod.domain.provider import ProviderSettings
from hermod.governance.governor import Governor
from hermod.governance.providers import By, ProviderManagement
from hermod.providers.registry import KNOWN_PROVIDERS
from hermod.store.choose import store_at
from hermod.vault import Vault
from tests.support.config import ROWS

BY = By("admin:test", is_open=False)
NO_FILE: Mapping[str, ProviderSettings] = {}


async def nothing() -> None:
    """Nobody has to follow."""


@asynccontextmanager
async def management(folder: Path, vault: Vault) -> AsyncGenerator[ProviderManagement]:
    """The use cases on a store of their own."""
    clock = SystemClock()
    store = store_at("", folder / "jobs.db", clock, synchronous="NORMAL", watch_s=None)
    await store.open()
    governor = Governor(store)
    await governor.open()
    read = partial(read_object, defaults=HermodSettings(), rows=ROWS, known=KNOWN_PROVIDERS)
    try:
        yield ProviderManagement(
            store, governor, clock, vault, read, NO_FILE, lambda: NO_FILE, nothing
        )
    finally:
        await store.close()


async def test_without_an_encryption_key_no_secret_is_stored(tmp_path: Path) -> None:
    # As on PostgreSQL, where no folder is shared (design.md 8, 28).
    async with management(tmp_path, Vault()) as ours:
        with pytest.raises(Refused) as refused:
            await ours.create("openai", {"keys": [{"value": "sk-canary"}]}, BY)
        assert refused.value.failure.status_code == 400
        assert "HERMOD_ENCRYPTION_KEY" in refused.value.failure.message
        assert ours.all() == ()
        await ours.create("openai", {"keys": []}, BY)  # nothing secret in it
        assert [each.name for each in ours.all()] == ["openai"]


async def test_a_key_file_that_cannot_be_read_is_an_error_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    path.mkdir()
    async with management(tmp_path, Vault(key_file=path)) as ours:
        with pytest.raises(Refused) as refused:
            await ours.create("openai", {"keys": [{"value": "sk-canary"}]}, BY)
        assert refused.value.failure.status_code == 500
        assert str(path) not in refused.value.failure.message
