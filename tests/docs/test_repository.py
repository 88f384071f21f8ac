"""What the repository says of itself is so."""

import re
import subprocess
import sys
import tomllib
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import hermod

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements/runtime.txt", "requirements/dev.txt")

# In pieces, so that this file does not name them either.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("registry", "npmjs", "org"),
        ("repo", "maven", "apache", "org"),
        ("repo1", "maven", "org"),
        ("deb", "debian", "org"),
    )
)
MACHINE_PATH = re.compile(rb"(?<![\w.}/-])/(?:" + b"|".join((b"root", b"work")) + rb")/\w")


@cache
def tracked() -> dict[str, bytes]:
    """The files that are, or would be, committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    names = [name for name in listed.split("\0") if name and (ROOT / name).is_file()]
    return {name: (ROOT / name).read_bytes() for name in sorted(names)}


_MODULES = {"pyjwt": "jwt"}
"""Distributions whose module has another name."""


def text(name: str) -> str:
    """A file of the repository."""
    return (ROOT / name).read_text("utf-8")


@cache
def pyproject() -> dict[str, Any]:
    """The whole of pyproject.toml."""
    return tomllib.loads(text("pyproject.toml"))


def pins(lock: str) -> dict[str, str]:
    """Name and version of everything a lock file pins."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^\s;]+)", text(lock), re.MULTILINE))


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_file_names_a_package_registry(host: str) -> None:
    assert [name for name, data in tracked().items() if host.encode() in data] == []


def test_no_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    assert [name for name, data in tracked().items() if MACHINE_PATH.search(data)] == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_has_hashes(lock: str) -> None:
    entries = re.split(r"\n(?=\S)", re.sub(r"^ *#.*\n", "", text(lock), flags=re.MULTILINE))
    assert len(entries) > 5
    for entry in entries:
        assert re.match(r"[a-z0-9-]+==\S+ (; .* )?\\\n +--hash=sha256:[0-9a-f]{64}\b", entry), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_no_address_in_it(lock: str) -> None:
    assert "://" not in text(lock)
    assert re.findall(r"^-.*", text(lock), re.MULTILINE) == []


def test_the_runtime_lock_holds_what_pyproject_asks_for() -> None:
    pinned = pins("requirements/runtime.txt")
    groups = pyproject()["dependency-groups"]
    for line in (*pyproject()["project"]["dependencies"], *groups["build"]):
        asked = Requirement(line)
        assert asked.specifier.contains(pinned[asked.name]), line


def test_the_dev_lock_adds_to_the_runtime_lock_and_changes_nothing_in_it() -> None:
    pinned = pins("requirements/dev.txt")
    assert pinned == pinned | pins("requirements/runtime.txt")
    for line in pyproject()["dependency-groups"]["dev"]:
        asked = Requirement(line)
        assert asked.specifier.contains(pinned[asked.name]), line


def test_every_dependency_says_why_it_is_there() -> None:
    block = text("pyproject.toml").split("\ndependencies = [\n")[1].split("\n]")[0]
    assert [line for line in block.splitlines() if not re.search(r'", +# \w', line)] == []


def test_the_wheel_carries_everything_that_is_in_the_package(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([*pip, *options, str(ROOT)], check=True)
    (wheel,) = tmp_path.iterdir()
    wanted = {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    assert {"hermod/py.typed", "hermod/providers/providers.toml"} <= wanted
    wanted.add("hermod/http/assets/swagger-ui-bundle.js")  # unpacked there, not committed
    with zipfile.ZipFile(wheel) as archive:
        assert wanted - set(archive.namelist()) == set()
    assert wheel.name.startswith(f"hermod_gateway-{hermod.__version__}-")


def test_make_alone_lists_every_target() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", text("Makefile"), re.MULTILINE))
    listing = subprocess.run(["make"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    assert {"serve", "test", "check", "bench"} <= targets
    assert set(re.findall(r"^  make ([a-z-]+) +\S", listing, re.MULTILINE)) == targets


def test_continuous_integration_runs_what_the_readme_says() -> None:
    script = [line for line in text(".ci/run").splitlines() if not line.startswith("#")]
    assert script == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "make test"]


def test_the_readme_is_short_and_starts_and_tests_the_program() -> None:
    readme = text("README.md")
    assert len(readme.splitlines()) < 150
    assert re.search(r"^make serve\b", readme, re.MULTILINE)
    assert re.search(r"^make test\b", readme, re.MULTILINE)


@pytest.mark.parametrize("page", [name for name in sorted(tracked()) if name.endswith(".md")])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?![a-z]+:|#)([^)#\s]+)", prose)
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", [name for name in sorted(tracked()) if name.endswith(".md")])
def test_a_page_has_no_gap_left_to_fill(page: str) -> None:
    assert re.findall(r"@@\w+@@|\bTODO\b|\bTBD\b", text(page)) == []


def test_the_newest_release_of_the_changelog_is_this_version() -> None:
    releases = re.findall(r"^## \[?(\d+\.\d+\.\d+)", text("CHANGELOG.md"), re.MULTILINE)
    assert releases[0] == hermod.__version__
    assert releases == sorted(releases, key=lambda v: [*map(int, v.split("."))], reverse=True)


def test_every_box_has_an_import_contract() -> None:
    boxes = {
        f"hermod.{name.split('/')[2].removesuffix('.py')}"
        for name in tracked()
        if re.fullmatch(r"src/hermod/(?!_)\w+(\.py|/.+)", name) and not name.endswith("py.typed")
    }
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    protected = {module for each in contracts for module in each.get("protected_modules", ())}
    # Everybody may import the domain, and nobody has a reason to import the command line.
    assert boxes - protected == {"hermod.domain", "hermod.cli"}


def test_the_domain_is_held_to_the_standard_library() -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    forbidden = next(
        set(each["forbidden_modules"])
        for each in contracts
        if each.get("source_modules") == ["hermod.domain"]
    )
    asked = {Requirement(line).name for line in pyproject()["project"]["dependencies"]}
    assert forbidden == {_MODULES.get(name, name.replace("-", "_")) for name in asked}
