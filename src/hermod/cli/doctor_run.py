"""What `hermod doctor` does, and how it is shown."""

import asyncio
import json
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Iterable, Mapping
from itertools import groupby

import click
import uvloop

from hermod import __version__
from hermod.clock import SystemClock
from hermod.config import load
from hermod.doctor import machine
from hermod.doctor.checkup import Checkup
from hermod.doctor.finding import Finding, Grade, Group, exit_code
from hermod.domain.errors import ConfigError
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows

_MARKS = {Grade.OK: "✓", Grade.WARNING: "!", Grade.ERROR: "✗"}
_PLAIN_MARKS = {Grade.OK: "ok", Grade.WARNING: "!!", Grade.ERROR: "XX"}
"""Where the terminal's encoding has no better ones."""
_COLOURS = {Grade.OK: "green", Grade.WARNING: "yellow", Grade.ERROR: "red"}
_SUBJECT_MAX = 28


def look(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    provider: str | None,
    *,
    timeout_s: float,
    as_json: bool,
) -> int:
    """All of it; the exit code."""
    try:
        loaded = load(flags, environ, rows=load_rows(), known=KNOWN_PROVIDERS)
    except ConfigError as error:
        findings = _of_broken(error)
    else:
        if provider is not None and provider not in loaded.settings.providers:
            known = ", ".join(loaded.settings.providers) or "none is"
            click.echo(f"hermod doctor: {provider} is not configured ({known})", err=True)
            return 2
        checkup = Checkup(loaded, SystemClock(), environ, timeout_s=timeout_s)
        source = checkup.all() if provider is None else checkup.of_provider(provider)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            findings = runner.run(_collected(source))
    code = exit_code(findings)
    if as_json:
        shown = [{**each._asdict(), "group": each.group.value} for each in findings]
        told = {"version": __version__, "exit_code": code, "findings": shown}
        click.echo(json.dumps(told, indent=2))
    else:
        _show(findings, environ)
    return code


async def _collected(source: AsyncIterator[Finding]) -> list[Finding]:
    order = list(Group)
    found = [each async for each in _with_progress(source)]
    return sorted(found, key=lambda each: (order.index(each.group), _rank(each)))


def _rank(finding: Finding) -> str:
    """Keys by their names, as they answer in any order; all else as it was looked at."""
    return finding.subject if finding.group is Group.PROVIDERS else ""


async def _with_progress(source: AsyncIterator[Finding]) -> AsyncIterator[Finding]:
    """A line on a terminal that says that something is going on."""
    shows = sys.stderr.isatty()
    number = 0
    async for finding in source:
        number += 1
        if shows:
            line = f"{number} looked at, {finding.subject} …"[:78]
            click.echo(f"\r{line:<78}", nl=False, err=True)
        yield finding
    if shows:
        click.echo(f"\r{'':<78}\r", nl=False, err=True)


def _of_broken(error: ConfigError) -> list[Finding]:
    problems = [
        Finding(Group.CONFIGURATION, Grade.ERROR, "config", text) for text in error.problems
    ]
    return [machine.of_interpreter(__version__), *problems]


def _show(findings: Iterable[Finding], environ: Mapping[str, str]) -> None:
    findings = list(findings)
    colours = sys.stdout.isatty() and not environ.get("NO_COLOR")
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    marks = _MARKS if _can_write("✓✗→…") else _PLAIN_MARKS
    longest = max((len(each.subject) for each in findings), default=0)
    column = min(longest, _SUBJECT_MAX)
    for group, members in groupby(findings, key=lambda each: each.group):
        _echo(f"\n{group.value}")
        for each in members:
            mark = marks[each.grade]
            if colours:
                mark = click.style(mark, fg=_COLOURS[each.grade])
            indent = " " * (column + 6)
            lines = _wrapped(each.text, indent, width)
            _echo(f"  {mark} {each.subject:<{column}}  {lines.lstrip()}")
            if each.remedy:
                arrow = "→" if marks is _MARKS else "->"
                _echo(_wrapped(f"{arrow} {each.remedy}", indent, width))
    counts = {grade: sum(each.grade is grade for each in findings) for grade in Grade}
    told = ", ".join(
        f"{counts[grade]} {word}"
        for grade, word in (
            (Grade.OK, "good"),
            (Grade.WARNING, "to look at"),
            (Grade.ERROR, "wrong"),
        )
    )
    _echo(f"\n{told}")


def _wrapped(text: str, indent: str, width: int | None) -> str:
    if width is None:
        return indent + text
    return textwrap.fill(
        text,
        max(width - 1, len(indent) + 30),
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        return False
    return True


def _echo(text: str) -> None:
    encoding = sys.stdout.encoding
    click.echo(text.encode(encoding, "replace").decode(encoding))
