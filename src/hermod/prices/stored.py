"""The price data that `hermod prices refresh` has fetched: `prices.json` in the app directory."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from hermod.domain.wire_time import rfc3339
from hermod.prices.builtin import builtin_prices, package_version
from hermod.prices.data import BadPrices, Data

log = logging.getLogger(__name__)

FILE: Final = "prices.json"


class _File(msgspec.Struct):
    fetched_at: str
    package: str
    """The version of the built-in data when this was fetched, which was newer then."""
    providers: msgspec.Raw


def current_prices(app_dir: Path, builtin: Callable[[], Data] = builtin_prices) -> Data:
    """What was fetched, or else the built-in data. Not for an event loop.

    A file that was fetched under another version of the package may be older than that is, and is
    passed over with a warning; so is a broken one.
    """
    path = app_dir / FILE
    try:
        found = msgspec.json.decode(path.read_bytes(), type=_File)
        if found.package == package_version():
            data = Data(bytes(found.providers), f"fetched {found.fetched_at}")
            data.check()
            return data
    except FileNotFoundError:
        return builtin()
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, BadPrices) as error:
        log.warning("%s cannot be used, the built-in prices are: %s", path, error)
        return builtin()
    log.warning(
        "%s was fetched before the built-in prices changed, which are used instead:"
        " run `hermod prices refresh`",
        path,
    )
    return builtin()


def store_prices(app_dir: Path, raw: bytes, now_at: int) -> Path:
    """Keep fetched data, whole or not at all. Raises OSError. The file's path."""
    path = app_dir / FILE
    beside = path.with_name(f"{FILE}.{os.getpid()}")
    whole = _File(rfc3339(now_at), package_version(), msgspec.Raw(raw))
    app_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with beside.open("wb") as file:
            file.write(msgspec.json.encode(whole))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
