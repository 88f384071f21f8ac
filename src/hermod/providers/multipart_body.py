"""Stored forms (RFC 7578): read for an adapter, and made anew for the upstream."""

import sys
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from hermod.kinds.form import FilePart
from hermod.kinds.multipart import FormLimits, FormParser, Part, form_type, read_boundary

_NO_LIMITS: Final = FormLimits(*[sys.maxsize] * len(FormLimits._fields))
"""They were kept when the form was accepted, perhaps by a release with others."""


class FormFile(NamedTuple):
    """A file of a form, with its contents."""

    part: FilePart
    contents: memoryview


class FormContents(NamedTuple):
    """What a form holds, in the order in which it came."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[FormFile, ...]


def fields_and_files(body: bytes, content_type: str) -> FormContents:
    """The text fields and the files of a form. The files' contents are views of `body`.

    Raises Refused for what never passed `read_form`.
    """
    fields: list[tuple[str, str]] = []
    files: list[FormFile] = []
    for part, contents in _parts(body, content_type):
        if part.filename is None:
            fields.append((part.name, bytes(contents).decode("utf-8")))
        else:
            about = FilePart(part.name, part.filename, part.content_type, len(contents))
            files.append(FormFile(about, contents))
    return FormContents(tuple(fields), tuple(files))


def rebuild(
    body: bytes,
    content_type: str,
    *,
    replace: Mapping[str, str],
    drop: Container[str],
    known: Container[str] | None,
    boundary: str,
) -> tuple[bytes, str]:
    """The form for the upstream, and its content type.

    It has the same parts in the same order, with their names, file names, content types and
    contents; but the text fields in `replace` have these values, whatever is in `drop` is left
    out, and so are the text fields that are not in `known`, if that is given. `items[]` and
    `items[key]` go with `items`. `boundary` must be one that nobody can guess, as it is not looked
    for in the contents, which are copied once. Raises Refused for what never passed `read_form`.
    """
    pieces: list[bytes | memoryview] = []
    for part, contents in _parts(body, content_type):
        field = part.name.partition("[")[0]
        if part.name in drop or field in drop:
            continue
        is_text = part.filename is None
        if is_text and known is not None and part.name not in known and field not in known:
            continue
        pieces.append(_head(part, boundary))
        pieces.append(replace[part.name].encode() if is_text and part.name in replace else contents)
        pieces.append(b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode("ascii"))
    return b"".join(pieces), form_type(boundary)


def compose(
    fields: Iterable[tuple[str, str]], files: Iterable[FormFile], boundary: str
) -> tuple[bytes, str]:
    """A form with these fields and files, in this order, and its content type.

    `boundary` as in `rebuild`. The contents are copied once.
    """
    pieces: list[bytes | memoryview] = []
    for name, value in fields:
        pieces += (_head(Part(name, None, ""), boundary), value.encode(), b"\r\n")
    for about, contents in files:
        part = Part(about.name, about.filename, about.content_type)
        pieces += (_head(part, boundary), contents, b"\r\n")
    pieces.append(f"--{boundary}--\r\n".encode("ascii"))
    return b"".join(pieces), form_type(boundary)


def _parts(body: bytes, content_type: str) -> Iterator[tuple[Part, memoryview]]:
    """The parts with their contents, without the files that were not chosen."""
    parser = FormParser(read_boundary(content_type), _NO_LIMITS)
    part: Part | None = None
    contents = memoryview(b"")
    for event in parser.feed(body):
        if isinstance(event, Part):
            part, contents = event, memoryview(b"")
        elif event is not None:
            contents = event  # of a body in one piece also each part's contents are one
        elif part is not None and (part.filename != "" or contents):
            yield part, contents
    parser.finish()


def _head(part: Part, boundary: str) -> bytes:
    lines = [f'--{boundary}\r\nContent-Disposition: form-data; name="{_escaped(part.name)}"']
    if part.filename is not None:
        lines.append(f'; filename="{_escaped(part.filename)}"')
    if part.content_type:
        lines.append(f"\r\nContent-Type: {part.content_type}")
    return "".join((*lines, "\r\n\r\n")).encode()


def _escaped(name: str) -> str:
    """As browsers do (HTML, multipart/form-data encoding algorithm)."""
    return name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22")
