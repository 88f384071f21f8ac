"""`check` answers or refuses, whatever it is given."""

import json
import string

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from hermod.domain.errors import Refused
from hermod.kinds.form import FilePart, Form
from hermod.kinds.kind import FieldType, JsonKind
from hermod.kinds.shapes import is_blank, is_empty_text, is_integers
from tests.kinds.minimal import FORM_KINDS, JSON_KINDS, MODEL, PROVIDERS, check_form, form_of

NAMES = sorted({name for kind in JSON_KINDS for name in kind.known_fields})
FORM_NAMES = sorted({name for kind in FORM_KINDS for name in kind.known_fields} | {"x"})
INNER = [
    *("role", "content", "effort", "x", "text", "voice", "speaker", "type", "document_url"),
    *("image_url", "provider", "model"),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('aé😀"\\[ \u3000', max_size=10)
    | st.sampled_from([MODEL, "document_url", "sse"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER), inner, max_size=3)
    ),
    max_leaves=10,
)
TEXTS = st.text(max_size=20) | st.sampled_from([MODEL, "true", "7", "background_removal"])
FORMS = st.builds(
    lambda fields, files: Form(tuple(fields), tuple(files)),
    st.lists(st.tuples(st.sampled_from(FORM_NAMES), TEXTS), max_size=8),
    st.lists(
        st.builds(
            FilePart,
            st.sampled_from(FORM_NAMES),
            st.text(max_size=9),
            st.text(max_size=9),
            st.integers(0, 2**40),
        ),
        max_size=4,
    ),
)


def judge(body: bytes) -> None:
    """Let every JSON kind look at it; only a 400 may come out."""
    for kind in JSON_KINDS:
        assert_judged(kind, body)


def assert_judged(kind: JsonKind, body: bytes) -> None:
    """An answer of the right type, or a refusal."""
    try:
        checked = kind.check(body, PROVIDERS)
    except Refused as refused:
        assert refused.failure.status_code == 400
        return
    assert checked.provider in PROVIDERS
    assert checked.model
    assert not checked.stream or kind.plural


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_any_bytes_are_accepted_or_refused(body: bytes) -> None:
    judge(body)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6), st.integers(0, 400))
def test_any_object_is_accepted_or_refused_whole_or_cut(
    members: dict[str, object], cut: int
) -> None:
    body = json.dumps({"model": MODEL} | members).encode()
    judge(body)
    judge(body[:cut])


@settings(max_examples=50)
@given(FORMS, st.booleans())
def test_any_form_is_accepted_only_with_what_is_required(form: Form, with_model: bool) -> None:
    if with_model:
        form = form._replace(fields=(("model", MODEL), *form.fields))
    for kind in FORM_KINDS:
        try:
            checked = kind.check(form, PROVIDERS)
        except Refused as refused:
            assert refused.failure.status_code == 400
            continue
        assert f"{checked.provider}/{checked.model}" == form.text("model")
        assert not checked.stream or kind.plural
        for name, field in kind.fields.items():
            if field.required and field.type in (FieldType.FILE, FieldType.FILES):
                assert form.named(name) or form.named(field.or_named or "")


@settings(max_examples=100)
@given(st.integers() | st.text(string.digits + "+-_ .e", max_size=6))
def test_an_integer_field_takes_what_is_an_integer_of_64_bits(value: int | str) -> None:
    text = str(value)
    try:
        fits = "_" not in text and " " not in text and -(2**63) <= int(text or "0") < 2**63
    except ValueError:
        fits = False
    try:
        check_form("image_variation", form_of("image_variation", n=text))
        accepted = True
    except Refused:
        accepted = False
    assert accepted == fits


@settings(max_examples=100)
@given(st.none() | st.text(' \t\n\r\u00a0\u3000\u2028ab"\\é\x1f', max_size=4), st.booleans())
def test_blank_and_empty_texts_are_told_from_their_bytes(
    text: str | None, ascii_only: bool
) -> None:
    raw = msgspec.Raw(json.dumps(text, ensure_ascii=ascii_only).encode())
    assert is_blank(raw) == (not (text or "").strip())
    assert bool(is_empty_text(raw)) == (not text)


@settings(max_examples=100)
@given(VALUES | st.lists(st.integers() | st.just([]), max_size=4), st.sampled_from([None, 1]))
def test_an_array_of_integers_is_told_by_its_bytes(value: object, indent: int | None) -> None:
    expected = value is None or (
        isinstance(value, list) and all(type(item) is int for item in value)
    )
    assert is_integers(msgspec.Raw(json.dumps(value, indent=indent).encode())) == expected
