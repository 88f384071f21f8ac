"""Lists of models, as operators write them: names, patterns, and `*` (product M4).

A pattern is matched against what a caller asks for, while everybody else waits. So only those are
taken that end soon on any name: the usual ways to write one that does not are refused.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from hermod.domain.governance import ANY

PATTERN: Final = "regex:"
"""How an entry begins that is a pattern. It must match a whole name."""

_PATTERN_CHARS: Final = 200
_NAME_CHARS: Final = 128
"""Longer names match no pattern."""
_REPEAT_COSTS: Final = 7
"""What `*`, `+` and `{` cost: each may multiply the time to fail by the length of the name. `?` and
`|` cost 1: each may double it."""
_MAY_COST: Final = 22
"""Three repetitions, or two and eight options, or one and fifteen: some milliseconds."""
_escapes_and_classes: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_refers_back: Final = re.compile(r"(?<!\\)(?:\\\\)*\\[1-9]").search
_special_group: Final = re.compile(r"\(\?(?!:|i\))").search
_repeated_group: Final = re.compile(r"\)[*+{]").search
_repeats: Final = re.compile(r"[*+{]").findall
_options: Final = re.compile(r"[?|]").findall


def lists(names: Iterable[str], provider: str, model: str) -> bool:
    """Whether a list names a model, as the provider knows it or with the provider's name before it.

    A pattern that `pattern_problem` refuses matches nothing.
    """
    with_provider = f"{provider}/{model}"
    for name in names:
        if name in (ANY, model, with_provider):
            return True
        if name.startswith(PATTERN):
            pattern = _compiled(name[len(PATTERN) :])
            if not isinstance(pattern, str) and (
                (len(model) <= _NAME_CHARS and pattern.fullmatch(model))
                or (len(with_provider) <= _NAME_CHARS and pattern.fullmatch(with_provider))
            ):
                return True
    return False


def forbids(names: Iterable[str], provider: str, model: str) -> bool:
    """Whether a blacklist names a model, however it is spelled.

    Upstreams forgive case, blanks, and a resource's longer name, `models/x` for `x`. So what they
    may take for a model that is forbidden is forbidden, too.
    """
    plain = _plain(model)
    spellings = {model, plain, _last(plain)}
    for name in names:
        if any(lists((name,), provider, each) for each in spellings):
            return True
        if not name.startswith(PATTERN) and _plain(name.removeprefix(f"{provider}/")) in spellings:
            return True
    return False


@lru_cache(maxsize=1024)
def _plain(name: str) -> str:
    """Without what cannot be seen, and without case."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in folded if unicodedata.category(each)[0] not in "CZ")


def _last(plain: str) -> str:
    """The last segment of a path that is one."""
    segments = [each for each in plain.split("/") if each not in {"", ".", ".."}]
    return segments[-1] if segments else plain


def pattern_problem(name: str) -> str | None:
    """Why an entry is a pattern that is not taken; None for one that is, and for plain names."""
    if not name.startswith(PATTERN):
        return None
    compiled = _compiled(name[len(PATTERN) :])
    return compiled if isinstance(compiled, str) else None


@lru_cache(maxsize=1024)
def _compiled(text: str) -> re.Pattern[str] | str:
    """A pattern, or what is wrong with it."""
    if len(text) > _PATTERN_CHARS:
        return f"longer than {_PATTERN_CHARS} characters"
    plain = _escapes_and_classes.sub("x", text)
    if _special_group(plain) or _refers_back(text):
        return "looks around or refers back"
    if _repeated_group(plain):
        return "repeats a group"
    if len(_repeats(plain)) * _REPEAT_COSTS + len(_options(plain)) > _MAY_COST:
        return "has so many repetitions and options that it may take long"
    try:
        return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return f"does not compile: {error}"
