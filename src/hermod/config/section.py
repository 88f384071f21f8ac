"""Typed reading of a JSON object: every problem is noted with its place, and reading goes on.

A member is asked for by its name; when the section is finished, what nobody asked for is unknown.
No text of the file is ever repeated in a message unless it is one of a fixed list of words: a key
in the wrong place must not end up in a log.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar, cast

from hermod.config.document import NOWHERE, Document, JsonPath, dotted
from hermod.config.settings import Ignored
from hermod.domain.duration import go_duration_s
from hermod.domain.headers import SECRET_NAME
from hermod.domain.provider import NO_SECRET, Secret

_Default = TypeVar("_Default")
_COMMENT: Final = ("$", "_", "//", "#")
"""Members that begin so are remarks (`$schema`, `_comment`): JSON has no other place for them."""
_INDEX: Final = re.compile(r"\[[0-9]+\]")
_NEUTRAL: Final[tuple[object, ...]] = (None, False, 0, "", [], {})
_VAULT: Final = "vault."
NO_ENVIRONMENT: Final = (
    "the gateway's environment is not read for what comes over the API: give the value itself, or "
    "configure the provider in the file"
)


class Note(NamedTuple):
    """Something to tell the operator. Notes sort in the order of the file."""

    at: tuple[int, int]
    text: str


@dataclass(slots=True)
class Report:
    """What is found while reading."""

    problems: list[Note] = field(default_factory=list[Note])
    warnings: list[Note] = field(default_factory=list[Note])
    ignored: list[Ignored] = field(default_factory=list[Ignored])
    plain_secrets: set[JsonPath] = field(default_factory=set[JsonPath])
    """Where the file holds a secret itself, and not the name of a variable."""

    def problem(self, text: str, at: tuple[int, int] = NOWHERE) -> None:
        """Something that must be put right before anything starts."""
        self.problems.append(Note(at, text))

    def warn(self, text: str, at: tuple[int, int] = NOWHERE) -> None:
        """Something the operator should know."""
        self.warnings.append(Note(at, text))


def in_file_order(notes: Iterable[Note]) -> tuple[str, ...]:
    """The texts: first what stands in no file, then the file from top to bottom."""
    return tuple(note.text for note in sorted(notes, key=lambda note: note.at))


@dataclass(frozen=True, slots=True)
class Source:
    """What every section of one file shares."""

    document: Document
    environ: Mapping[str, str]
    report: Report
    is_api: bool = False
    """Whether it is no file of the operator's but came over the API: it may not name variables of
    the environment, and has no member that is not known."""


def did_you_mean(word: str, candidates: Iterable[str]) -> str:
    """`, did you mean "weight"?`, or nothing when no candidate is close."""
    close = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.7)
    return f', did you mean "{close[0]}"?' if close else ""


def shown(value: object) -> str:
    """A JSON value in a message: a number as it is, of anything else only its type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)[:24]
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"


class Section:
    """One JSON object of the file; also stands for one that is absent. `null` is absence."""

    def __init__(
        self, source: Source, path: JsonPath = (), members: Mapping[str, object] | None = None
    ) -> None:
        self.source = source
        self.path = path
        self.members: Mapping[str, object] = {} if members is None else members
        self._asked: set[str] = set()

    # Telling

    def place(self, *steps: str | int) -> str:
        """Where a member stands, for a message."""
        return self.source.document.place((*self.path, *steps))

    def position(self, *steps: str | int) -> tuple[int, int]:
        """Line and column of a member, or of its nearest parent."""
        return self.source.document.position((*self.path, *steps))

    def problem(self, text: str, *steps: str | int) -> None:
        """Something that must be put right before anything starts."""
        self.source.report.problem(f"{self.place(*steps)}: {text}", self.position(*steps))

    def warn(self, text: str, *steps: str | int) -> None:
        """Something the operator should know."""
        self.source.report.warn(f"{self.place(*steps)}: {text}", self.position(*steps))

    def ignored(self, reason: str, *steps: str | int) -> None:
        """Something that is understood and not acted on."""
        self.source.report.ignored.append(Ignored(dotted((*self.path, *steps)), reason))

    def ignored_in_each(self, reason: str, key: str) -> None:
        """The same of an element of a list: told once for all of them, and not when it is empty."""
        if self.take(key) in _NEUTRAL:
            return
        told = Ignored(_INDEX.sub("[*]", dotted((*self.path, key))), reason)
        if told not in self.source.report.ignored:
            self.source.report.ignored.append(told)

    def finish(self) -> None:
        """Warn of every member that nobody asked for; over the API it is a problem."""
        for key in self.members:
            if key not in self._asked and self.source.is_api:
                self.problem(f"unknown field{did_you_mean(key, self._asked)}", key)
            elif key not in self._asked and not key.startswith(_COMMENT):
                self.warn(f"unknown key, not read{did_you_mean(key, self._asked)}", key)

    # Reading

    def has(self, key: str) -> bool:
        """Whether it is there."""
        return self.take(key) is not None

    def take(self, key: str) -> object:
        """The raw value, None when absent."""
        self._asked.add(key)
        return self.members.get(key)

    def expected(self, what: str, value: object, *steps: str | int) -> None:
        """Note a value of the wrong type or size."""
        self.problem(f"expected {what}, got {shown(value)}", *steps)

    def integer(self, key: str, default: _Default, low: int, high: int) -> int | _Default:
        """A whole number from `low` to `high`."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.expected(f"a whole number from {low} to {high}", value, key)
        return default

    def number(self, key: str, default: float, low: float, high: float) -> float:
        """A number from `low` to `high`."""
        value = self.take(key)
        if value is None:
            return default
        if isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high:
            return float(value)
        self.expected(f"a number from {low:.12g} to {high:.12g}", value, key)
        return default

    def milliseconds(self, key: str, default: _Default, high: int) -> int | _Default:
        """Whole milliseconds, or one of Go's durations: `500`, `"500ms"`, `"1m30s"`."""
        value = self.take(key)
        if isinstance(value, str):
            seconds = go_duration_s(value)
            if seconds is not None:
                return min(high, round(seconds * 1000))
            self.problem('expected milliseconds, or a duration such as "500ms" or "5s"', key)
            return default
        return self.integer(key, default, 0, high)

    def flag(self, key: str, *, default: bool = False) -> bool:
        """true or false."""
        value = self.take(key)
        if value is None or isinstance(value, bool):
            return default if value is None else value
        self.expected("true or false", value, key)
        return default

    def text(self, key: str) -> str | None:
        """A string."""
        value = self.take(key)
        if value is None or isinstance(value, str):
            return value
        self.expected("a string", value, key)
        return None

    def choice(self, key: str, default: str, allowed: Iterable[str]) -> str:
        """One of a few words."""
        value = self.text(key)
        words = list(allowed)
        if value is None or value in words:
            return default if value is None else value
        self.problem(f"expected {' or '.join(words)}{did_you_mean(value, words)}", key)
        return default

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings, empty when absent."""
        return tuple(text for _, text in self.texts_by_index(key))

    def texts_by_index(self, key: str) -> list[tuple[int, str]]:
        """The same, each string with its place in the array."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.expected("an array of strings", value, key)
            return []
        found: list[tuple[int, str]] = []
        for index, item in enumerate(cast("list[object]", value)):
            if isinstance(item, str):
                found.append((index, item))
            else:
                self.expected("a string", item, key, index)
        return found

    def words(self, key: str) -> tuple[str, ...]:
        """A string or an array of strings; empty when absent."""
        value = self.take(key)
        return (value,) if isinstance(value, str) else self.texts(key)

    def section(self, key: str) -> "Section":
        """The object under `key`, or an absent one."""
        value = self.take(key)
        return self._child(value, key) or Section(self.source, (*self.path, key))

    def sections(self, key: str) -> list["Section"]:
        """The objects of the array under `key`, none when absent."""
        value = self.take(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.expected("an array of objects", value, key)
            return []
        found = [self._child(v, key, n) for n, v in enumerate(cast("list[object]", value))]
        return [child for child in found if child is not None]

    def _child(self, value: object, *steps: str | int) -> "Section | None":
        if value is None:
            return None
        if not isinstance(value, dict):
            self.expected("an object", value, *steps)
            return None
        return Section(self.source, (*self.path, *steps), cast("dict[str, object]", value))

    def secret(self, key: str) -> Secret:
        """A secret: the text itself, `env.NAME`, or `{value, env_var, from_env}`.

        A variable that is not set gives an empty secret and a warning (wire-contract 9).
        """
        value = self.take(key)
        if isinstance(value, dict):
            parts = Section(self.source, (*self.path, key), cast("dict[str, object]", value))
            value = _reference(parts)
            parts.finish()
        if value is None:
            return NO_SECRET
        if not isinstance(value, str):
            self.expected('a string, or "env.NAME"', value, key)
            return NO_SECRET
        if value.startswith("env."):
            return self._from_environment(value.removeprefix("env."), key)
        if value.startswith(_VAULT) and self.source.is_api:
            self.problem("vaults are not read: give the value itself", key)
            return NO_SECRET
        if value.startswith(_VAULT):
            self.warn('vaults are not read, so this is empty: use "env.NAME"', key)
            return NO_SECRET
        if value and (key == "value" or SECRET_NAME.search(key)):
            self.source.report.plain_secrets.add((*self.path, key))
        return Secret(value)

    def _from_environment(self, name: str, key: str) -> Secret:
        if self.source.is_api:
            self.problem(NO_ENVIRONMENT, key)
            return NO_SECRET
        value = self.source.environ.get(name, "")
        if not value:
            self.warn(f"env.{name} is not set in the environment, so this is empty", key)
        return Secret(value)

    def later(self, key: str, kind: type, reason: str, neutral: object = None) -> None:
        """A member that is known and not acted on yet; not worth a word when it is `neutral`."""
        value = self.take(key)
        if value is None:
            return
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            self.expected(_KINDS[kind], value, key)
        elif value != neutral:
            self.ignored(reason, key)


def _reference(parts: Section) -> str:
    """The object form of a secret as the string it stands for."""
    literal, name = parts.text("value") or "", parts.text("env_var") or ""
    from_env = parts.flag("from_env")
    reference = parts.text("ref") or ""
    kind = parts.choice("type", "plain_text", ("plain_text", "env", "vault"))
    if name and (from_env or literal in ("", name)):
        return f"env.{name.removeprefix('env.')}"
    if kind != "plain_text":
        return f"{kind}.{(reference or literal).removeprefix(f'{kind}.')}"
    return literal or reference


_KINDS: Final[Mapping[type, str]] = {
    bool: "true or false",
    int: "a whole number",
    str: "a string",
    list: "an array",
    dict: "an object",
}
