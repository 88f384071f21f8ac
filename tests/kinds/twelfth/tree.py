"""The product with one more request type: a copy of its source, changed as CONTRIBUTING.md says."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import hermod

SOURCE = Path(hermod.__file__).parent
HERE = Path(__file__).parent
_IMPORT = "from hermod.kinds.moderation import MODERATION\n"
_LINE = "    MODERATION,\n"


def with_a_twelfth_kind(folder: Path) -> Path:
    """Make the copy in `folder`: one new file, and its line, with its import, in the registry."""
    copy = folder / "hermod"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HERE / "moderation.py", copy / "kinds")
    registry = copy / "kinds" / "registry.py"
    imports, tuple_, rest = registry.read_text("utf-8").partition("KINDS: Final")
    listed, end, rest = rest.partition(")\n")
    registry.write_text(_IMPORT + imports + tuple_ + listed + _LINE + end + rest, "utf-8")
    return copy


def environ(copy: Path) -> Mapping[str, str]:
    """What makes Python and the installed `hermod` run the copy."""
    return {"PYTHONPATH": str(copy.parent), "PYTHONDONTWRITEBYTECODE": "1"}
