"""A JSON text that remembers where everything stands in it."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, TypeAlias, cast

JsonPath: TypeAlias = tuple[str | int, ...]

_PLAIN_KEY: Final = re.compile(r"[\w$-]+")
NOWHERE: Final = (0, 0)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"')
_SCALAR: Final = re.compile(r"[^\s,\]}]+")


def dotted(path: JsonPath) -> str:
    """`providers.openai.keys[0].weight`, as people and the documentation write it."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step)}]"
    return text


class Unreadable(Exception):
    """The file cannot be used at all; the message says where and why."""


@dataclass(frozen=True, slots=True)
class Document:
    """A configuration file, or the absence of one."""

    name: str = ""
    members: Mapping[str, object] = field(default_factory=dict[str, object])
    marks: Mapping[JsonPath, tuple[int, int]] = field(
        default_factory=dict[JsonPath, tuple[int, int]]
    )
    """Line and column, from 1, of each member's key and each element."""
    repeated: tuple[JsonPath, ...] = ()
    """Members written more than once; the last one counts."""

    def place(self, path: JsonPath) -> str:
        """`FILE:LINE:COLUMN dotted.path`; of a member that is absent, its nearest parent's line."""
        at = self.position(path)
        where = f"{self.name}:{at[0]}:{at[1]}" if at[0] else self.name
        return f"{where} {dotted(path)}".strip()

    def position(self, path: JsonPath) -> tuple[int, int]:
        """Line and column of a member or its nearest parent; zeros when it is nowhere."""
        while path and path not in self.marks:
            path = path[:-1]
        return self.marks.get(path, NOWHERE)


def read_document(path: Path) -> Document:
    """Read a configuration file.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such file.
        Unreadable: it cannot be opened, is not UTF-8, or is not one JSON object.
    """
    try:
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise Unreadable(f"{path}: cannot be read: {error.strerror}") from None
    try:
        # A byte order mark is what some Windows editors put in front of UTF-8.
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise Unreadable(f"{path}:{line}: not UTF-8: save the file in that encoding") from None
    return parse_document(str(path), text)


def parse_document(name: str, text: str) -> Document:
    """Parse the text of a configuration file.

    Raises:
        Unreadable: it is not one JSON object.
    """
    try:
        root: object = json.loads(text, parse_constant=_refuse_constant)
        if not isinstance(root, dict):
            raise Unreadable(f"{name}:1:1 expected one JSON object: {{ … }}")
        offsets: list[tuple[JsonPath, int]] = []
        _walk(text, 0, (), offsets)
    except json.JSONDecodeError as error:
        raise Unreadable(f"{name}:{error.lineno}:{error.colno} not JSON: {error.msg}") from None
    except RecursionError:
        raise Unreadable(f"{name}: nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"{name}: not JSON: {error}") from None
    times = Counter(path for path, _ in offsets)
    return Document(
        name=name,
        members=cast("dict[str, object]", root),
        marks=dict(_lines(text, offsets)),
        repeated=tuple(path for path, count in times.items() if count > 1),
    )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _walk(text: str, at: int, path: JsonPath, offsets: list[tuple[JsonPath, int]]) -> int:
    """Note where the members below `path` stand; return where the value at `at` ends.

    Only ever called on text that `json.loads` has accepted, so it checks nothing.
    """
    at = _end(_BLANK, text, at)
    opening = text[at]
    if opening == '"':
        return _end(_STRING, text, at)
    if opening not in "{[":
        return _end(_SCALAR, text, at)
    at = _end(_BLANK, text, at + 1)
    index = 0
    while text[at] not in "}]":
        offset = at
        step: str | int = index
        if opening == "{":
            at = _end(_STRING, text, at)
            step = str(json.loads(text[offset:at]))
            at = _end(_BLANK, text, at) + 1
        offsets.append(((*path, step), offset))
        at = _end(_BLANK, text, _walk(text, at, (*path, step), offsets))
        if text[at] == ",":
            at = _end(_BLANK, text, at + 1)
        index += 1
    return at + 1


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _lines(
    text: str, offsets: Iterable[tuple[JsonPath, int]]
) -> Iterable[tuple[JsonPath, tuple[int, int]]]:
    """Line and column of each offset; the offsets only grow, so the text is read once."""
    line, start, seen = 1, 0, 0
    for path, offset in offsets:
        fresh = text.count("\n", seen, offset)
        if fresh:
            line += fresh
            start = text.rfind("\n", 0, offset) + 1
        seen = offset
        yield path, (line, offset - start + 1)
