"""Any JSON, with the names that a vendor uses at any place in it."""

from typing import Any

from hypothesis import strategies as st

Json = st.SearchStrategy[Any]


def any_json(names: str, leaves: int = 10) -> Json:
    """Values of every type; the members of objects are among `names`, or have any name."""
    of_objects = st.sampled_from(names.split()) | st.text(max_size=3)
    return st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(of_objects, inner, max_size=4),
        max_leaves=leaves,
    )
