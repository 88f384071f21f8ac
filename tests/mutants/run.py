"""Make a mutant, run its test against it, and see it fail."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.mutants.table import Mutant

ROOT: Final = Path(__file__).parents[2]
SOURCE: Final = ROOT / "src" / "hermod"
PATIENCE_S: Final = 120.0
"""With a mutant that hangs. A test that does not end has noticed, too, but nobody will wait."""
_SUMMARY: Final = re.compile(r"^(?:FAILED|ERROR) tests/.*$", re.MULTILINE)
_UNFIT: Final = re.compile(
    r"^E +\S*(?:SQLError|SyntaxError|Undefined\w+|Datatype\w+)", re.MULTILINE
)
"""A mutant that no database or interpreter would run proves nothing."""


class NotApplicable(Exception):
    """The text of a mutant is not in its file exactly once."""


def mutated(mutant: Mutant) -> str:
    """The file as the mutant has it. Raises NotApplicable."""
    text = (SOURCE / mutant.file).read_text("utf-8")
    found = text.count(mutant.old)
    if found != 1:
        raise NotApplicable(f"{mutant.name}: its text is {found} times in {mutant.file}")
    return text.replace(mutant.old, mutant.new)


@contextmanager
def package_of(mutant: Mutant) -> Generator[Path]:
    """The folder with a mutated `hermod` in it."""
    text = mutated(mutant)
    with TemporaryDirectory(prefix="hermod-mutant-") as name:
        package = Path(name) / "hermod"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / mutant.file).write_text(text, "utf-8")
        yield Path(name)


def run_tests(
    tests: Iterable[str],
    only: str = "",
    package: Path | None = None,
    patience_s: float | None = None,
) -> tuple[int, str]:
    """pytest's exit code and output, for these tests and that package. Raises TimeoutExpired."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if package is not None:
        environ["PYTHONPATH"] = str(package)
    command = [sys.executable, "-B", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
    command += ["-k", only] if only else []
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=patience_s,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def survives(mutant: Mutant) -> str | None:
    """Why the mutant counts as survivor; None when its test fails because of it.

    An error is no failure: a mutant that cannot run proves nothing of its test.
    """
    with package_of(mutant) as package:
        try:
            code, output = run_tests([mutant.test], mutant.only, package, PATIENCE_S)
        except subprocess.TimeoutExpired:
            return f"{mutant.test} did not end in {PATIENCE_S:g} s"
    summary = _SUMMARY.findall(output)
    failed = code == 1 and summary and all(line.startswith("FAILED") for line in summary)
    if failed and not _UNFIT.search(output):
        return None
    return f"{mutant.test} ended with {code}:\n{output[-2_000:]}"


def is_imported(package: Path) -> bool:
    """Whether a process that is given this package takes it, and not the installed one."""
    program = "import hermod; print(hermod.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip()).is_relative_to(package)
