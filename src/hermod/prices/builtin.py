"""The prices inside the `genai-prices` package, in the form of its published file.

Importing the package costs 25 MB of memory that nobody needs afterwards, and up to a second, in
which the interpreter does nothing else where no compiled files may be kept. So a process of its own
does it, and says what it found.
"""

import logging
import subprocess
import sys
from dataclasses import asdict
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec

from hermod.prices.data import Data
from hermod.prices.rates import UNITS

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice

log = logging.getLogger(__name__)

_PACKAGE: Final = "genai-prices"
_TIMEOUT_S: Final = 30.0


def package_version() -> str:
    """The package's version. It is not imported for this."""
    return version(_PACKAGE)


def written_by_setup() -> Path:
    """Where `make` leaves the data, so that no gateway has to read the package."""
    return Path(__file__).with_name(f"builtin-{package_version()}.json")


def builtin_prices(path: Path | None = None) -> Data:
    """The built-in data. Takes a second or two where set-up left none: not for an event loop.

    `path` is where set-up would have left it.
    """
    return Data(_read(path or written_by_setup()), f"{_PACKAGE} {package_version()}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return _asked()


def _asked() -> bytes:
    try:
        return subprocess.run(  # noqa: S603 - this very program
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
            # A Ctrl-C at the terminal is for whoever waits for this.
            start_new_session=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("price data is read in this process, another one cannot: %s", error)
        return as_json()


def as_json() -> bytes:
    """What of the package's data is read here."""
    from genai_prices.data import providers  # noqa: PLC0415 - see above

    return msgspec.json.encode(
        [
            {
                "id": provider.id,
                "fallback_model_providers": provider.fallback_model_providers,
                "models": [_model(each) for each in provider.models],
            }
            for provider in providers
        ]
    )


def _model(model: "ModelInfo") -> dict[str, Any]:
    prices: object
    if isinstance(model.prices, list):
        prices = [
            {
                "prices": _prices(each.prices),
                "constraint": each.constraint and asdict(each.constraint),
            }
            for each in model.prices
        ]
    else:
        prices = _prices(model.prices)
    return {"id": model.id, "match": _renamed(asdict(model.match)), "prices": prices}


def _prices(prices: "ModelPrice") -> dict[str, Any]:
    told = {name: getattr(prices, name) for name in UNITS}
    return {
        name: price if isinstance(price, Decimal) else asdict(price)
        for name, price in told.items()
        if price is not None
    }


def _renamed(value: Any) -> Any:
    """Clauses in clauses: `or_` is `or` outside of Python."""
    if isinstance(value, list):
        return [_renamed(each) for each in cast("list[Any]", value)]
    if isinstance(value, dict):
        clauses = cast("dict[str, Any]", value)
        return {name.rstrip("_"): _renamed(each) for name, each in clauses.items()}
    return value


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        written_by_setup().write_bytes(as_json())
    else:
        sys.stdout.buffer.write(as_json())
