"""Histories as files: one JSON object to a line, one file for each sort of record."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from hermod.store.inspection import Dump
from hermod.torture.history import (
    Blow,
    Call,
    History,
    Life,
    Look,
    Read,
    Reply,
    Scrape,
    Submit,
    Terms,
)

Line = TypeVar("Line")
_SORTS: Final = {
    "submits": Submit,
    "reads": Read,
    "calls": Call,
    "replies": Reply,
    "blows": Blow,
    "lives": Life,
    "looks": Look,
    "scrapes": Scrape,
}
_FOLDER: Final = "history"
_TERMS: Final = "terms.json"
_FINAL: Final = "dump-final.json"


class NoHistory(Exception):
    """A folder holds no history, or one that cannot be read. The message says what is wrong."""


def write_history(history: History, folder: Path) -> None:
    """Write a history into a folder. Raises OSError."""
    folder = folder / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SORTS:
        lines = getattr(history, name)
        if name == "blows":
            # Dumps are large, and look the same whatever blow they belong to.
            for number, blow in enumerate(history.blows, 1):
                if blow.dump is not None:
                    _write(_dump_file(folder, number), [blow.dump])
            lines = [replace(blow, dump=None) for blow in history.blows]
        _write(folder / f"{name}.jsonl", lines)
    _write(folder / _FINAL, [history.final])
    _write(folder / _TERMS, [history.terms])


def read_history(folder: Path) -> History:
    """The history that was written into a folder. Raises NoHistory."""
    folder = folder / _FOLDER
    try:
        found: dict[str, Any] = {
            name: _read(folder / f"{name}.jsonl", kind) for name, kind in _SORTS.items()
        }
        found["blows"] = [
            replace(blow, dump=_read(path, Dump)[0]) if path.exists() else blow
            for number, blow in enumerate(found["blows"], 1)
            for path in (_dump_file(folder, number),)
        ]
        (final,) = _read(folder / _FINAL, Dump)
        (terms,) = _read(folder / _TERMS, Terms)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise NoHistory(f"{folder} holds no history of a run: {error}") from error
    return History(final=final, terms=terms, **found)


def _dump_file(folder: Path, number: int) -> Path:
    return folder / f"dump-{number:03}.json"


def _write(path: Path, lines: Iterable[object]) -> None:
    encode = msgspec.json.Encoder().encode
    with path.open("wb") as file:
        for line in lines:
            file.write(encode(line) + b"\n")


def _read(path: Path, kind: type[Line]) -> list[Line]:
    decode = msgspec.json.Decoder(kind).decode
    with path.open("rb") as file:
        return [decode(line) for line in file]
