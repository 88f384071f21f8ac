"""The release before this one: its code, from git, as a program of its own."""

import io
import shlex
import subprocess
import sysconfig
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
VERSION: Final = "0.4.0"
COMMIT: Final = "f6937130a89843142f0f71e6e1ce20957eb78f03"
"""Not a tag: tags do not travel with every clone."""

RUN: Final = "import sys; sys.argv[0] = 'hermod'; from hermod.cli.main import main; main()"
"""What the program does."""


@dataclass(frozen=True)
class Release:
    """A release's source tree, and a virtual environment in which it is installed."""

    source: Path
    python: Path

    @property
    def hermod(self) -> Path:
        """The program."""
        return self.python.with_name("hermod")

    @property
    def packages(self) -> Path:
        """Where its Python finds what is only for it."""
        environment = str(self.python.parent.parent)
        return Path(sysconfig.get_path("purelib", "venv", {"base": environment}))

    def program(self, name: str, *python_arguments: str) -> Path:
        """Make `name` a program beside `hermod`: its Python, with these arguments and the caller's.

        It stays the process that was started, so signals reach it.
        """
        path = self.python.with_name(name)
        command = shlex.join([str(self.python), "-P", *python_arguments])
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', "utf-8")
        path.chmod(0o755)
        return path


def install(folder: Path, commit: str = COMMIT) -> Release:
    """Fetch the release from this clone's history into a new folder, and make it run.

    It shares this environment's packages. Raises LookupError, with the remedy, when the clone does
    not reach back that far.
    """
    folder.mkdir(parents=True)
    source = folder / "source"
    with zipfile.ZipFile(io.BytesIO(_archive(commit))) as archive:
        archive.extractall(source)
    environment = folder / "environment"
    venv.create(environment, symlinks=True)
    release = Release(source, environment / "bin" / "python")
    shared = dict.fromkeys(sysconfig.get_path(kind) for kind in ("purelib", "platlib"))
    # Paths from a .pth file: first the release's code, and no .pth of the shared folder is read,
    # which is where today's code is entered.
    lines = "".join(f"{path}\n" for path in (source / "src", *shared))
    Path(release.packages, "release_before.pth").write_text(lines, "utf-8")
    release.program("hermod", "-c", RUN)
    # What its set-up leaves: without this each start of it reads a package for a second.
    command = [release.python, "-P", "-m", "hermod.prices.builtin", "--write"]
    subprocess.run(command, check=True)
    return release


def _archive(commit: str) -> bytes:
    git = ["git", "-C", str(ROOT)]
    known = subprocess.run(
        [*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True, check=False
    )
    if known.returncode:
        raise LookupError(
            f"commit {commit[:7]} (release {VERSION}) is not in this clone, so its code cannot be "
            "tested on today's schema. Fetch the whole history: git fetch --unshallow"
        )
    made = subprocess.run(
        [*git, "archive", "--format=zip", commit], capture_output=True, check=True
    )
    return made.stdout
