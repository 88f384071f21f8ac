"""All settings, read once: `load` is the only reader of the environment and of the file."""

from hermod.config.load import load
from hermod.config.settings import (
    ClientSettings,
    CompatSettings,
    HermodSettings,
    Ignored,
    Loaded,
    Settings,
)

__all__ = [
    "ClientSettings",
    "CompatSettings",
    "HermodSettings",
    "Ignored",
    "Loaded",
    "Settings",
    "load",
]
