"""`check` answers or refuses, whatever bytes it is given."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.kinds.registry import KINDS

PROVIDERS = frozenset({"openai"})
NAMES = sorted({name for kind in KINDS for name in kind.known_fields})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé😀"\\[', max_size=10)
    | st.just("openai/gpt-4"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "effort", "x"]), inner, max_size=3)
    ),
    max_leaves=10,
)


def judge(body: bytes) -> None:
    """Let every kind look at it; only a 400 may come out."""
    for kind in KINDS:
        try:
            kind.check(body, PROVIDERS)
        except Refused as refused:
            assert refused.failure.status_code == 400


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    judge(body)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), st.integers(0, 400))
def test_any_object_is_accepted_or_refused_whole_or_cut(
    members: dict[str, object], cut: int
) -> None:
    body = json.dumps({"model": "openai/gpt-4"} | members).encode()
    judge(body)
    judge(body[:cut])
