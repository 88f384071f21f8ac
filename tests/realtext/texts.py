"""Real text: what the standard library of the running Python says about itself."""

import ast
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Final

LONGEST: Final = 800
"""Characters of a prompt. Longer texts are cut into several."""
_SHORTEST: Final = 16
"""Shorter ones say too little to be told from each other."""
_NOT_THE_LIBRARY: Final = frozenset({"__pycache__", "dist-packages", "site-packages"})
_TESTS: Final = frozenset({"test", "tests"})


def read_texts(count: int) -> list[str]:
    """That many different texts, in an order that depends on the Python release alone.

    All strings with letters beyond ASCII come first, because they are few: chapters of `help()`,
    and what Python's own tests say in other scripts. Docstrings follow. Raises ValueError when
    there are not enough.
    """
    root = Path(sysconfig.get_path("stdlib"))
    files = {
        file: frozenset(file.relative_to(root).parts)
        for file in sorted(root.rglob("*.py"))
        if _NOT_THE_LIBRARY.isdisjoint(file.relative_to(root).parts)
    }
    beyond_ascii = (file for file in files if not file.read_bytes().isascii())
    documented = (file for file, parts in files.items() if _TESTS.isdisjoint(parts))
    strings = chain.from_iterable(map(_strings, beyond_ascii))
    docstrings = chain.from_iterable(map(_docstrings, documented))
    found = chain((text for text in _pieces(strings) if not text.isascii()), _pieces(docstrings))
    texts = list(islice(_distinct(found), count))
    if len(texts) < count:
        raise ValueError(f"the standard library has only {len(texts)} of {count} texts")
    return texts


def _distinct(texts: Iterable[str]) -> Iterator[str]:
    """Each once, and lazily: to parse the whole library takes long."""
    seen: set[str] = set()
    for text in texts:
        if text not in seen:
            seen.add(text)
            yield text


def _pieces(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        for start in range(0, len(text), LONGEST):
            piece = text[start : start + LONGEST]
            if len(piece.strip()) >= _SHORTEST and _encodable(piece):
                yield piece


def _strings(file: Path) -> Iterator[str]:
    for node in _nodes(file):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _docstrings(file: Path) -> Iterator[str]:
    """As they were written, indentation included."""
    for node in _nodes(file):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node, clean=False) or ""


def _nodes(file: Path) -> Iterator[ast.AST]:
    try:
        with warnings.catch_warnings(action="ignore"):  # about what the parsed code does
            return ast.walk(ast.parse(file.read_bytes()))
    except SyntaxError:  # some tests need such files
        return iter(())


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return True
