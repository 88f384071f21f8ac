"""How the program is started: flags, `HERMOD_…` variables and their twins in the file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hermod.config.database import Database, database_at, database_fault, default_url
from hermod.config.document import NOWHERE, Document, Unreadable, read_document
from hermod.config.section import Report, Section, did_you_mean
from hermod.domain.provider import Secret

SERVE_FLAGS: Final = (
    "host", "port", "base_path", "app_dir", "config", "database", "role", "processes", "log_level",
)  # fmt: skip
"""Every flag of `hermod serve` that is a setting (design.md 2)."""
_LOG_LEVELS: Final = {
    "debug": "DEBUG",
    "info": "INFO",
    "warn": "WARNING",
    "warning": "WARNING",
    "error": "ERROR",
    "critical": "CRITICAL",
}
_BASE_PATH: Final = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_ROLES: Final = ("all", "api", "worker")


@dataclass(frozen=True, slots=True)
class Launch:
    """What the start of the program decides."""

    host: str
    port: int
    base_path: str
    database: Database
    role: str
    processes: int
    log_level: str
    admin_token: Secret
    host_given: "Choice"
    """Where the host was said."""


class Choice(NamedTuple):
    """A value as it was given, and where."""

    value: object
    place: str
    at: tuple[int, int] = NOWHERE
    in_file: bool = False


class Choices:
    """One value out of several places: flag, then environment, then file (design.md 2)."""

    def __init__(
        self,
        flags: Mapping[str, object],
        environ: Mapping[str, str],
        report: Report,
        section: Section | None = None,
    ) -> None:
        self._flags, self._environ, self._report = flags, environ, report
        self._section = section

    def find(self, name: str) -> Choice:
        """The value from the first place that has one; its value is None when none has."""
        section = self._section
        # Asked for in the file in any case, or it would count as unknown there.
        written = section.take(name) if section else None
        if (flag := self._flags.get(name)) is not None:
            return Choice(flag, f"--{name.replace('_', '-')}")
        variable = f"HERMOD_{name.upper()}"
        if value := self._environ.get(variable):
            return Choice(value, f"environment {variable}")
        if section is None:
            return Choice(None, name)
        return Choice(written, section.place(name), section.position(name), in_file=True)

    def text(self, name: str, default: str) -> tuple[str, Choice]:
        """A text, and where it was given."""
        choice = self.find(name)
        if choice.value is None or isinstance(choice.value, str | Path):
            return str(choice.value or default), choice
        self.problem(choice, "expected a string")
        return default, choice

    def integer(self, name: str, default: int, low: int, high: int) -> tuple[int, Choice]:
        """A whole number, and where it was given. Outside the file it may be digits."""
        choice = self.find(name)
        value = choice.value
        if value is None:
            return default, choice
        if isinstance(value, str) and not choice.in_file and re.fullmatch("[0-9]{1,9}", value):
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value, choice
        self.problem(choice, f"expected a whole number from {low} to {high}")
        return default, choice

    def problem(self, choice: Choice, text: str) -> None:
        """Something that must be put right before anything starts."""
        self._report.problem(f"{choice.place}: {text}", choice.at)


def find_file(
    flags: Mapping[str, object], environ: Mapping[str, str], report: Report
) -> tuple[Path, Document | None]:
    """The app directory, and the configuration file if there is one.

    The file is `--config FILE`, which must exist, or `config.json` in the app directory.
    """
    choices = Choices(flags, environ, report)
    app_dir_text, app_dir_given = choices.text("app_dir", "./hermod-data")
    app_dir = Path(app_dir_text)
    named, file_given = choices.text("config", "")
    path = Path(named) if named else app_dir / "config.json"
    try:
        return app_dir, read_document(path)
    except FileNotFoundError:
        if named:
            choices.problem(file_given, f"there is no file {path}")
    except NotADirectoryError as error:
        given = file_given if named else app_dir_given
        choices.problem(given, f"{Path(str(error.filename)).parent} is not a directory")
    except Unreadable as error:
        report.problem(str(error))
    return app_dir, None


def read_launch(
    flags: Mapping[str, object], environ: Mapping[str, str], section: Section, app_dir: Path
) -> Launch:
    """Everything but the file's place; `section` is the file's `hermod`."""
    report = section.source.report
    choices = Choices(flags, environ, report, section)
    host, given = choices.text("host", "127.0.0.1")
    host = host.strip().removeprefix("[").removesuffix("]")
    admin_token = Secret(environ.get("HERMOD_ADMIN_TOKEN", "").strip())
    role = _role(choices)
    port, _ = choices.integer("port", 8080, 0, 65535)
    processes, _ = choices.integer("processes", 1, 1, 1024)
    launch = Launch(
        host=host,
        port=port,
        base_path=_base_path(choices),
        database=_database(choices, app_dir),
        role=role,
        processes=processes,
        log_level=_log_level(choices),
        admin_token=admin_token,
        host_given=given,
    )
    _warn_of_misspelt_variables(environ, report)
    return launch


def _base_path(choices: Choices) -> str:
    text, given = choices.text("base_path", "")
    trimmed = text.rstrip("/")
    if _BASE_PATH.fullmatch(trimmed):
        return trimmed
    choices.problem(
        given, "expected a path such as /gateway: letters, digits, '-', '_', '.' and '~'"
    )
    return ""


def _log_level(choices: Choices) -> str:
    text, given = choices.text("log_level", "info")
    if level := _LOG_LEVELS.get(text.lower()):
        return level
    choices.problem(
        given, f"expected one of {', '.join(_LOG_LEVELS)}{did_you_mean(text.lower(), _LOG_LEVELS)}"
    )
    return "INFO"


def _role(choices: Choices) -> str:
    role, given = choices.text("role", "all")
    if role in _ROLES:
        return role
    choices.problem(given, f"expected all, api or worker{did_you_mean(role, _ROLES)}")
    return "all"


def _database(choices: Choices, app_dir: Path) -> Database:
    usual = default_url(app_dir)
    url, given = choices.text("database", usual)
    if fault := database_fault(url, usual):
        choices.problem(given, fault)
        return database_at(usual)
    return database_at(url)


def _warn_of_misspelt_variables(environ: Mapping[str, str], report: Report) -> None:
    names = {f"HERMOD_{flag.upper()}" for flag in SERVE_FLAGS}
    names |= {"HERMOD_ADMIN_TOKEN", "HERMOD_FAILPOINTS"}
    names |= {"HERMOD_ENCRYPTION_KEY", "HERMOD_ENCRYPTION_KEY_PREVIOUS"}
    for name in sorted(environ):
        # Others may have variables of that prefix; only what looks like a slip is worth a word.
        if name.startswith("HERMOD_") and name not in names and (hint := did_you_mean(name, names)):
            report.warn(f"environment {name}: unknown variable, not read{hint}")
