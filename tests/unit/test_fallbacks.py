"""calls/fallbacks.py: the targets that a stored request names."""

import pytest

from hermod.calls.fallbacks import fallbacks_of, routed_models
from hermod.domain.job import Target

FORM = "multipart/form-data; boundary=B"


def form(value: str) -> bytes:
    head = 'Content-Disposition: form-data; name="fallbacks"'
    return f"--B\r\n{head}\r\n\r\n{value}\r\n--B--\r\n".encode()


def test_a_field_of_a_form_names_one_or_a_list() -> None:
    assert fallbacks_of(form("a/b"), FORM) == (Target("a", "b"),)
    assert fallbacks_of(form('["a/b", {"provider": "c", "model": "d"}]'), FORM) == (
        Target("a", "b"),
        Target("c", "d"),
    )


@pytest.mark.parametrize("value", ["[", '["a/\\ud800"]', '["a/b\\u0000"]', "[" * 9999])
def test_what_no_store_could_keep_names_nothing(value: str) -> None:
    assert fallbacks_of(form(value), FORM) == ()


@pytest.mark.parametrize(
    ("body", "models"),
    [
        (b'{"model":"a","models":["b","c"]}', ("b", "c")),
        (b'{"models":"b"}', ("b",)),
        (b'{"\\u006dodels":["b"]}', ("b",)),
        (b'{"models":["b",1,null,{"model":"c"}]}', ("b",)),
        (b'{"models":[]}', ()),
        (b'{"models":null}', ()),
        (b'{"models":{"b":1}}', ()),
        (b'{"metadata":{"models":["b"]}}', ()),
        (b'{"model":"a"}', ()),
        (b'--B\r\nname="models"\r\n\r\nb\r\n--B--', ()),
        (b'"models"' + b"[" * 9999, ()),
        (b'{"models":["\xff"]}', ()),
    ],
)
def test_a_router_is_told_of_other_models(body: bytes, models: tuple[str, ...]) -> None:
    assert routed_models(body) == models
