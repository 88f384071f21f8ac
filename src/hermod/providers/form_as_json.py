"""Forms for upstreams that take the same request as a JSON object, with files in base64."""

from base64 import b64encode
from collections.abc import Collection
from typing import Any, Final

from hermod.kinds.kind import FieldType, FormKind
from hermod.providers.adapter import CannotCarry, Outgoing
from hermod.providers.multipart_body import FormContents, FormFile, fields_and_files

_NUMBERS: Final = frozenset({FieldType.INTEGER, FieldType.NUMBER})


def contents_of(outgoing: Outgoing) -> FormContents:
    """The fields and files of a form that passed its check."""
    assert outgoing.content_type is not None
    return fields_and_files(outgoing.body, outgoing.content_type)


def members_of(
    kind: FormKind, outgoing: Outgoing, form: FormContents, *, numbers: Collection[str] = ()
) -> dict[str, Any]:
    """The text fields as members: `items[]` as an array, numbers as numbers, the rest as texts.

    `numbers` are fields that hold one without being documented. A number that is none stays the
    text that it is, for the upstream to judge.
    """
    members: dict[str, Any] = {"model": outgoing.model}
    for name, text in form.fields:
        field = name.partition("[")[0]
        if field == "model" or field in kind.never_sent or not text:
            continue
        if field not in kind.known_fields and not outgoing.forward_unknown:
            continue
        documented = kind.fields.get(field)
        if field in numbers or (documented is not None and documented.type in _NUMBERS):
            members[field] = _number(text)
        elif name.endswith("[]"):
            members.setdefault(field, []).append(text)
        elif documented is not None and documented.type is FieldType.BOOLEAN:
            members[field] = text == "true"
        else:
            members[field] = text
    return members


def refuse(outgoing: Outgoing, name: str) -> tuple[str, ...]:
    """Say that the upstream has nothing like this field; it counts as dropped if that is allowed.

    Raises:
        CannotCarry: the operator did not say to drop such fields.
    """
    if outgoing.drop_unsupported:
        return (name,)
    provider = outgoing.provider.name if outgoing.provider is not None else "this"
    raise CannotCarry(
        f"{name}: not supported by {provider} provider; leave it out, or set "
        "client.compat.should_drop_params to have such fields dropped",
        param=name,
    )


def base64_of(file: FormFile) -> str:
    """The file's contents."""
    return b64encode(file.contents).decode("ascii")


def data_url_of(file: FormFile, usual: str) -> str:
    """The file as a URL that holds it (RFC 2397); `usual` is the type of one that has none."""
    return f"data:{file.part.content_type or usual};base64,{base64_of(file)}"


def _number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
