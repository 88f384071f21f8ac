"""Constructs what seals secrets, as the settings say."""

from pathlib import Path
from typing import Final

from hermod.config import Settings
from hermod.vault import Vault

_FILE: Final = "encryption.key"


def vault_of(settings: Settings) -> Vault:
    """The operator's key; without one that of the app directory, which who shares a file shares."""
    previous = settings.encryption_key_previous
    return Vault(settings.encryption_key, key_path(settings), (previous,) if previous else ())


def key_path(settings: Settings) -> Path | None:
    """Where the key lies that an embedded database has for itself; None for a server's."""
    return settings.app_dir / _FILE if settings.database_path is not None else None
