"""Receiving a form (wire-contract 1.10, 1.12, 1.13): judged as it comes, files not in memory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from hermod.http.asgi import Receive, Scope
from hermod.http.body import ByteBudget, check_head, take_body
from hermod.http.spool import Spool, Upload
from hermod.kinds.form import FilePart, Form
from hermod.kinds.multipart import (
    FORM_LIMITS,
    FormLimits,
    FormParser,
    Part,
    broken,
    form_type,
    read_boundary,
)


@dataclass(frozen=True, slots=True)
class Received:
    """A form that passed every check. To be closed, or used in a `with`, once it is stored."""

    form: Form
    body: bytes | Upload
    """The whole multipart body as it came, decompressed."""
    content_type: str
    """With the boundary of `body`, to be kept as long as that."""
    memory_bytes: int
    """What of it is in memory, for a `budget.hold(…)` as long as it is kept."""

    def close(self) -> None:
        """Gives the body's file up, if it is in one. May be called again."""
        if isinstance(self.body, Upload):
            self.body.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def read_form(
    scope: Scope,
    receive: Receive,
    cap: int,
    budget: ByteBudget,
    spool_dir: Path,
    limits: FormLimits = FORM_LIMITS,
) -> Received:
    """The form in a request's body, of at most `cap` bytes after decompression.

    A body of more than `IN_HAND_BYTES` goes to a file in `spool_dir`, of which nothing is left
    however this ends. `budget` counts what is in memory. Raises Refused (400 no form we read, 413
    too large, else as `read_body`), ClientGone, StoreFull and StoreUnavailable for the file.
    """
    encoding = check_head(scope, cap)
    content_types = [value for name, value in scope["headers"] if name == b"content-type"]
    boundary = _boundary(content_types)
    reading = _Reading(FormParser(boundary, limits), limits)
    spool = Spool(spool_dir)
    with budget.hold() as hold:

        def take(piece: bytes) -> None:
            hold.grow(reading.feed(piece))
            hold.grow(spool.write(piece))

        try:
            await take_body(await receive(), receive, encoding, cap, hold, take)
            form = reading.finish()
            body = spool.finish()
        finally:
            spool.close()
    memory_bytes = reading.text_bytes + (len(body) if isinstance(body, bytes) else 0)
    return Received(form, body, form_type(boundary), memory_bytes)


def _boundary(content_types: Sequence[bytes]) -> str:
    if len(content_types) > 1:
        raise broken("there is more than one content type")
    return read_boundary(content_types[0].decode("latin-1") if content_types else "")


class _Reading:
    """Makes a Form of what the parser tells."""

    def __init__(self, parser: FormParser, limits: FormLimits) -> None:
        self._parser = parser
        self._limits = limits
        self._fields: list[tuple[str, str]] = []
        self._files: list[FilePart] = []
        self._part: Part | None = None
        self._text = bytearray()
        self._file_bytes = 0
        self.text_bytes = 0
        """Of all text fields."""

    def feed(self, piece: bytes) -> int:
        """Takes the next piece of the body, and says how much of it stays in memory."""
        before = self.text_bytes
        for event in self._parser.feed(piece):
            if isinstance(event, Part):
                self._part = event
            elif event is None:
                self._end_part()
            elif self._part is not None and self._part.filename is None:
                self._add_text(event)
            else:
                self._file_bytes += len(event)
        return self.text_bytes - before

    def finish(self) -> Form:
        """The form. Raises Refused when its end is missing."""
        self._parser.finish()
        return Form(tuple(self._fields), tuple(self._files))

    def _add_text(self, contents: memoryview) -> None:
        limits = self._limits
        room = limits.field_bytes - len(self._text)
        room_of_all = limits.fields_bytes - self.text_bytes
        if len(contents) > min(room, room_of_all):
            # That of the two which comes first, wherever the pieces end.
            if room <= room_of_all:
                raise broken(f"a text field is larger than {limits.field_bytes} bytes", 413)
            raise broken(f"the text fields are larger than {limits.fields_bytes} bytes", 413)
        self._text += contents
        self.text_bytes += len(contents)

    def _end_part(self) -> None:
        part, size, text = self._part, self._file_bytes, self._text
        self._part, self._file_bytes, self._text = None, 0, bytearray()
        assert part is not None
        if part.filename is None:
            try:
                self._fields.append((part.name, text.decode("utf-8")))
            except UnicodeDecodeError:
                raise broken(f"the field {part.name!r} is not UTF-8") from None
        elif part.filename or size:  # else it is a browser's empty file input
            self._files.append(FilePart(part.name, part.filename, part.content_type, size))
