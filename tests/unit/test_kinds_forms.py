"""What the forms among the request types require (wire-contract 1.10, 1.12 and 1.13)."""

import pytest

from hermod.kinds.form import FilePart, Form
from hermod.kinds.kind import Checked, FieldType, FormKind
from tests.kinds.minimal import (
    FORMS,
    MODEL,
    check_form,
    each_form_kind,
    form_kind,
    form_of,
    form_refusal,
    of_each_form_type,
)

TEXT, TEXTS, INTEGER = FieldType.TEXT, FieldType.TEXTS, FieldType.INTEGER
FILE, FILES, BOOLEAN = FieldType.FILE, FieldType.FILES, FieldType.BOOLEAN
FIELDS: dict[str, dict[FieldType, str]] = {
    "transcription": {
        TEXT: "model language prompt response_format file_format",
        TEXTS: "fallbacks",
        FILE: "file",
        BOOLEAN: "stream",
    },
    "image_edit": {
        TEXT: "model prompt type size response_format background input_fidelity quality"
        " output_format negative_prompt user",
        TEXTS: "fallbacks",
        INTEGER: "n partial_images num_inference_steps seed output_compression",
        FILE: "mask",
        FILES: "image",
        BOOLEAN: "stream",
    },
    "image_variation": {
        TEXT: "model size response_format user",
        TEXTS: "fallbacks",
        INTEGER: "n",
        FILES: "image",
    },
}
"""The documented fields by their type."""
IMAGES = ["image_edit", "image_variation"]
INTEGERS = [
    (request_type, field)
    for request_type, types in FIELDS.items()
    for field in types.get(INTEGER, "").split()
]


@of_each_form_type
def test_the_documented_fields_have_their_types(request_type: str) -> None:
    documented = {name: each.type for name, each in form_kind(request_type).fields.items()}
    assert documented == {
        name: type_ for type_, names in FIELDS[request_type].items() for name in names.split()
    }


@of_each_form_type
def test_what_is_required_is_what_the_smallest_form_has(request_type: str) -> None:
    fields = form_kind(request_type).fields
    required = {name for name, each in fields.items() if each.required}
    assert required == {"model", *FORMS[request_type]}


@each_form_kind
def test_the_example_in_the_description_has_what_is_required(kind: FormKind) -> None:
    required = {name for name, each in kind.fields.items() if each.required}
    assert set(kind.example) == required


@of_each_form_type
def test_the_smallest_form_is_accepted(request_type: str) -> None:
    assert check_form(request_type, form_of(request_type)) == Checked("openai", "gpt-4")


@of_each_form_type
def test_of_a_repeated_field_the_first_value_counts(request_type: str) -> None:
    form = form_of(request_type, ("model", "nonsense"), ("stream", "true"))
    first = form_of(request_type, ("stream", "true"), stream="false")
    assert check_form(request_type, form).model == "gpt-4"
    assert check_form(request_type, first).stream is False


@of_each_form_type
def test_a_model_that_comes_as_a_file_is_none(request_type: str) -> None:
    form = form_of(request_type, without="model")
    form = form._replace(files=(*form.files, FilePart("model", MODEL, "text/plain", 5)))
    assert form_refusal(request_type, form) == "model is required"


@of_each_form_type
def test_unknown_parts_and_fallbacks_that_name_nothing_are_no_error(request_type: str) -> None:
    form = form_of(
        request_type,
        ("", "x"),
        ("temperature", "warm"),
        ("timestamp_granularities[]", "word"),
        ("fallbacks", "nonsense"),
        ("fallbacks", ""),
    )
    form = form._replace(files=(*form.files, FilePart("other", "", "", 0)))
    check_form(request_type, form)


@pytest.mark.parametrize("request_type", ["transcription", "image_edit"])
def test_a_stream_is_asked_for_with_exactly_true(request_type: str) -> None:
    assert check_form(request_type, form_of(request_type, stream="true")).stream is True
    for other in ("false", "", "True", "TRUE", "1", "yes", " true", "true\n", "null"):
        assert check_form(request_type, form_of(request_type, stream=other)).stream is False


def test_image_variations_do_not_look_at_stream() -> None:
    assert check_form("image_variation", form_of("image_variation", stream="true")).stream is False


def test_a_transcription_needs_a_file() -> None:
    assert form_refusal("transcription", form_of("transcription", without="file")) == (
        "file is required"
    )


def test_a_text_field_named_file_is_no_file() -> None:
    form = form_of("transcription", ("file", "RIFF"), without="file")
    assert form_refusal("transcription", form) == "file is required"


@pytest.mark.parametrize(("filename", "size"), [("a.mp3", 0), ("", 1), ("a.exe", 10**12)])
def test_any_file_will_do(filename: str, size: int) -> None:
    file = FilePart("file", filename, "application/x-msdownload", size)
    form = Form((("model", MODEL),), (file, file))
    assert check_form("transcription", form) == Checked("openai", "gpt-4")


@pytest.mark.parametrize("request_type", IMAGES)
def test_an_image_may_come_under_either_name(request_type: str) -> None:
    form = form_of(request_type)
    several = tuple(file._replace(name="image[]") for file in form.files * 3)
    check_form(request_type, form._replace(files=several))
    check_form(request_type, form._replace(files=(*form.files, *several)))
    assert {"image", "image[]"} <= form_kind(request_type).known_fields


@pytest.mark.parametrize("request_type", IMAGES)
def test_without_an_image_a_form_is_refused(request_type: str) -> None:
    form = form_of(request_type, ("image", "aVBO"), ("image[]", "aVBO"), without="image")
    form = form._replace(files=(FilePart("mask", "m.png", "image/png", 9),))
    assert form_refusal(request_type, form) == "at least one image is required"


@pytest.mark.parametrize("type_", ["inpainting", "outpainting", "Background_Removal", ""])
def test_an_edit_needs_a_prompt(type_: str) -> None:
    for form in (
        form_of("image_edit", without="prompt", type=type_),
        form_of("image_edit", prompt="", type=type_),
    ):
        assert form_refusal("image_edit", form) == "prompt is required"


def test_the_removal_of_a_background_needs_no_prompt() -> None:
    check_form("image_edit", form_of("image_edit", without="prompt", type="background_removal"))


@pytest.mark.parametrize(("request_type", "field"), INTEGERS)
def test_an_integer_field_takes_integers(request_type: str, field: str) -> None:
    for value in ("", "1", "0", "-5", "+5", "007", str(2**63 - 1), str(-(2**63))):
        check_form(request_type, form_of(request_type, **{field: value}))


@pytest.mark.parametrize(("request_type", "field"), INTEGERS)
def test_an_integer_field_takes_nothing_else(request_type: str, field: str) -> None:
    for value in ("abc", "1.0", "1e3", " 1", "1\n", "1_0", "٣", "-", "0x1", str(2**63), "9" * 9999):
        message = form_refusal(request_type, form_of(request_type, **{field: value}))
        assert message.startswith(f"invalid {field} value: ")
        assert len(message) < 120


def test_an_edit_asks_for_model_prompt_image_and_integers_in_this_order() -> None:
    form = Form((("n", "many"), ("seed", "x")), ())
    found: list[str] = []
    for add in (
        Form((("model", MODEL),), ()),
        Form((("prompt", "Add a boat."),), ()),
        Form((), (FilePart("image", "a.png", "image/png", 1),)),
    ):
        found.append(form_refusal("image_edit", form))
        form = Form(form.fields + add.fields, form.files + add.files)
    found.append(form_refusal("image_edit", form))
    assert found == [
        "model is required",
        "prompt is required",
        "at least one image is required",
        "invalid n value: 'many' is not an integer",
    ]
