"""S5: what is secret is compared in constant time, or found by its digest; never with `==`."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

import hermod

SOURCE: Final = Path(hermod.__file__).parent
WORDS: Final = frozenset(
    {"token", "secret", "password", "passwd", "signature", "digest", "hash", "hexed", "hmac",
     "credential", "credentials", "cookie", "session"}
)  # fmt: skip
"""A name with one of these in it may hold a secret, or what was made of one."""

EXPLAINED: Final = {
    ("config/virtual_keys.py", "value == self._names.about.admin_token.reveal()"): (
        "both are in the operator's hands, at the start: nobody can measure it"
    ),
    ("config/key_configs.py", "bool(found.access_key) != bool(found.secret_key)"): (
        "whether they are there, not what they are"
    ),
    ("governance/access.py", "secret[:6].lower() == _VIRTUAL_KEY"): "the prefix is no secret",
    ("governance/admins.py", "cookie == _COOKIE"): "the cookie's name",
    ("http/api/session.py", "name == _COOKIE"): "the cookie's name",
    ("governance/claims.py", "told != key.token_version"): "a count, in a token that was verified",
    ("governance/token_keys.py", "bool(shared) != bool(issuer.secret)"): (
        "whether it is there, not what it is"
    ),
    ("providers/cohere/chat.py", "status == _INVALID_TOKEN"): "a status of HTTP",
}
"""Comparisons that tell nobody anything, and why."""


def suspicious(source: str) -> Iterator[str]:
    """Each `==` and `!=` with a name that may hold a secret."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            continue
        if any(_may_be_secret(name) for name in _names(node)):
            yield ast.unparse(node)


def _names(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr


def _may_be_secret(name: str) -> bool:
    return not WORDS.isdisjoint(name.lower().strip("_").split("_"))


def test_no_secret_is_compared_with_an_operator() -> None:
    found = {
        (str(file.relative_to(SOURCE)), comparison)
        for file in SOURCE.rglob("*.py")
        for comparison in suspicious(file.read_text("utf-8"))
    }
    assert found - EXPLAINED.keys() == set(), "use hmac.compare_digest, or explain it here"
    assert EXPLAINED.keys() - found == set(), "explained, but no longer there"


@pytest.mark.parametrize(
    "planted",
    [
        "token == given",
        "given != self._token",
        "row.secret_hash == digest",
        "if password.strip() == expected: pass",
        "ok = any(header == signature for signature in found)",
        "hashlib.sha256(secret).hexdigest() == known",
        "a < b == admin_token",
    ],
)
def test_a_comparison_that_should_not_be_is_seen(planted: str) -> None:
    assert list(suspicious(planted))


@pytest.mark.parametrize("harmless", ["tokens == 0", "hmac.compare_digest(token, given)", "a == b"])
def test_another_one_is_not(harmless: str) -> None:
    assert not list(suspicious(harmless))
