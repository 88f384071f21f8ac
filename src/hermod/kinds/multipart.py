"""multipart/form-data as its bytes come (RFC 7578, RFC 2046 5.1), judged alike however it is cut.

Stricter than the RFCs, which let readers be kind: where two of them could read two things, the
form is refused, as the next one to read it is the upstream.
"""

import re
from collections.abc import Generator, Iterator
from enum import Enum
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from hermod.domain.errors import Refused
from hermod.domain.failure import Failure

_CRLF: Final = b"\r\n"


class FormLimits(NamedTuple):
    """How large what a form is made of may be. The whole of it has the cap of all bodies."""

    parts: int = 64
    """The form with the most, an image edit, has 16 images, a mask and some twenty fields."""
    headers: int = 16
    """Of one part."""
    header_bytes: int = 8 * 1024
    """Of one header, without its line break."""
    name_chars: int = 256
    filename_chars: int = 255
    field_bytes: int = 1024 * 1024
    """Of one text field."""
    fields_bytes: int = 4 * 1024 * 1024
    """Of all text fields together."""


FORM_LIMITS: Final = FormLimits()


class Part(NamedTuple):
    """What the head of a part says."""

    name: str
    filename: str | None
    """None for a text field."""
    content_type: str
    """As the client wrote it; empty if it did not."""


def broken(detail: str, status_code: int = 400) -> Refused:
    """The refusal of a form (wire-contract 1.3)."""
    return Refused(Failure(f"failed to parse multipart form: {detail}", status_code=status_code))


class _Place(Enum):
    START = 0
    CONTENTS = 1
    BOUNDARY = 2
    """Behind it, where stands what it is: one between parts, or the last one."""
    HEAD = 3
    OVER = 4


class FormParser:
    """Tells the parts of a form from the pieces of its body. No contents are kept.

    Held back is only what could be the beginning of a boundary, or a header that is not whole.
    """

    def __init__(self, boundary: str, limits: FormLimits = FORM_LIMITS) -> None:
        """`boundary` as `read_boundary` gives it."""
        self._delimiter = b"\r\n--" + boundary.encode("ascii")
        self._limits = limits
        self._place = _Place.START
        self._rest = b""
        self._borrowed = 0
        """Bytes of the line break that ends a head, as long as it may begin a boundary: then the
        part has no contents."""
        self._parts = 0
        self._lines: list[bytes] = []
        """The head of the part, as far as it came."""

    def feed(self, data: bytes) -> Iterator[Part | memoryview | None]:
        """What `data` tells: the head of a part, pieces of its contents, None at its end.

        To be taken to the end. Raises Refused for what is no form, or breaks a limit; the parser
        is of no use afterwards.
        """
        buffer = self._rest + data
        at = 0
        while self._place is not _Place.OVER:
            match self._place:
                case _Place.START:
                    reached = self._start(buffer)
                case _Place.CONTENTS:
                    reached = yield from self._contents(buffer, at)
                case _Place.BOUNDARY:
                    reached = yield from self._boundary(buffer, at)
                case _Place.HEAD:
                    reached = yield from self._head(buffer, at)
            if reached is None:
                break
            at = reached
        # What follows the last boundary means nothing (RFC 2046 5.1.1).
        self._rest = b"" if self._place is _Place.OVER else buffer[at:]

    def finish(self) -> None:
        """Says that no more comes. Raises Refused when the last boundary is missing."""
        if self._place is not _Place.OVER:
            raise broken("the body ends before its last boundary")

    # Each of these reads on from `at` and says how far it came, None when it needs more.

    def _start(self, buffer: bytes) -> int | None:
        # A line break belongs to every boundary, though not at the very beginning. Preambles are
        # of mail: in a form they would be parts that somebody overlooks.
        for first in (self._delimiter[len(_CRLF) :], self._delimiter):
            if buffer.startswith(first):
                self._place = _Place.BOUNDARY
                return len(first)
            if first.startswith(buffer):
                return None
        raise broken("the body does not begin with its boundary")

    def _contents(self, buffer: bytes, at: int) -> Generator[memoryview, None, int | None]:
        found = buffer.find(self._delimiter, at)
        end = found if found >= 0 else self._certain_end(buffer, at)
        if end > at:
            contents = memoryview(buffer)[at + self._borrowed : end]
            self._borrowed = 0
            if contents:
                yield contents
        if found < 0:
            return end if end > at else None
        self._place = _Place.BOUNDARY
        return found + len(self._delimiter)

    def _boundary(self, buffer: bytes, at: int) -> Generator[None, None, int | None]:
        following = buffer[at : at + 2]
        if len(following) < 2:
            return None
        if self._parts:
            yield None
        if following == b"--":
            self._place = _Place.OVER
        elif following == _CRLF:
            self._place = _Place.HEAD
            self._lines = []
            self._parts += 1
            if self._parts > self._limits.parts:
                raise broken(f"more than {self._limits.parts} parts")
        else:
            raise broken("a boundary is not followed by a line break")
        return at + 2

    def _head(self, buffer: bytes, at: int) -> Generator[Part, None, int | None]:
        end = buffer.find(_CRLF, at)
        is_whole = end >= 0
        if not is_whole:
            end = len(buffer) - buffer.endswith(b"\r")
        if end - at > self._limits.header_bytes:
            raise broken(f"a part's header is longer than {self._limits.header_bytes} bytes")
        if not is_whole:
            return None
        if end == at:
            yield _read_head(self._lines, self._limits)
            self._place = _Place.CONTENTS
            self._borrowed = len(_CRLF)
            return at
        self._lines.append(buffer[at:end])
        if len(self._lines) > self._limits.headers:
            raise broken(f"a part has more than {self._limits.headers} headers")
        return end + len(_CRLF)

    def _certain_end(self, buffer: bytes, at: int) -> int:
        """Up to where `buffer`, in which there is no boundary, is not the beginning of one."""
        last = buffer.rfind(b"\r", max(at, len(buffer) - len(self._delimiter) + 1))
        if last >= 0 and self._delimiter.startswith(buffer[last:]):
            return last
        return len(buffer)


# The head of a part

_TCHARS: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110 5.6.2."""
_TOKEN: Final = re.compile(_TCHARS)
_PARAMETER: Final = re.compile(
    rf"""[ \t]*;[ \t]*(?:({_TCHARS})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*+"|[^";]*+)|$)"""
)
"""One of a header's parameters, or the semicolon that some put behind the last one."""
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f-\x9f]")
_SAFE_ENCODINGS: Final = frozenset({"7bit", "8bit", "binary"})
_OURS: Final = frozenset({"content-disposition", "content-type", "content-transfer-encoding"})


def _read_head(lines: list[bytes], limits: FormLimits) -> Part:
    """The part that these headers announce. Raises Refused."""
    fields = _fields(lines)
    disposition = fields.get("content-disposition")
    if disposition is None:
        raise broken("a part has no Content-Disposition")
    content_type = fields.get("content-type", "")
    if content_type.lower().startswith("multipart/"):
        raise broken("a part is itself multipart, which RFC 7578 has done away with")
    encoding = fields.get("content-transfer-encoding", "binary")
    if encoding.lower() not in _SAFE_ENCODINGS:
        raise broken(f"Content-Transfer-Encoding {encoding[:40]!r} is not supported")
    name, filename = _read_disposition(disposition)
    if not name:
        raise broken("a part has no name")
    _check_text("name", name, limits.name_chars)
    if filename is not None:
        _check_text("file name", filename, limits.filename_chars)
    return Part(name, filename, content_type)


def _fields(lines: list[bytes]) -> dict[str, str]:
    """The headers that mean something to us, by their names in lower case."""
    fields: dict[str, str] = {}
    for line in lines:
        try:
            name, colon, value = line.decode("utf-8").partition(":")
        except UnicodeDecodeError:
            raise broken("a part's header is not UTF-8") from None
        if not (colon and _TOKEN.fullmatch(name)):
            raise broken("a part's header is not a name, a colon and a value on one line")
        if _CONTROL.search(value.replace("\t", " ")):
            raise broken("a part's header contains a control character")
        name = name.lower()
        if name in _OURS:
            if name in fields:
                raise broken(f"a part has more than one {name} header")
            fields[name] = value.strip(" \t")
    return fields


def _read_disposition(value: str) -> tuple[str, str | None]:
    """The name and the file name of a part, as they are meant (RFC 7578 4.2)."""
    kind, parameters = _parameters(value, "a part's Content-Disposition")
    if kind != "form-data":
        raise broken("a part's Content-Disposition is not form-data")
    filename = parameters.get("filename")
    extended = _extended_value(parameters.get("filename*", ""))
    if extended is not None:
        return _meant(parameters.get("name", "")), extended
    if filename is None and "filename*" in parameters:
        raise broken("a part's filename* is in no encoding we know")
    return _meant(parameters.get("name", "")), None if filename is None else _meant(filename)


def _parameters(value: str, what: str) -> tuple[str, dict[str, str]]:
    """What stands before the first semicolon, and the parameters, quoted as they came."""
    kind, semicolon, rest = value.partition(";")
    rest = semicolon + rest
    parameters: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _PARAMETER.match(rest, at)
        if match is None:
            raise broken(f"{what} is malformed")
        at = match.end()
        if match[1] is not None:
            name = match[1].lower()
            if name in parameters:
                raise broken(f"{what} has more than one {name}")
            parameters[name] = match[2].strip(" \t")
    return kind.strip(" \t").lower(), parameters


def _meant(value: str) -> str:
    """Browsers write %22, %0D and %0A and leave backslashes alone; others escape quotes by one."""
    if value.startswith('"'):
        value = value[1:-1]
        if '\\"' in value:
            return re.sub(r'\\(["\\])', r"\1", value)
    return value.replace("%22", '"').replace("%0D", "\r").replace("%0A", "\n")


def _extended_value(value: str) -> str | None:
    """The text of `filename*` (RFC 8187). Forms should not have it; .NET writes it all the same."""
    charset, _, rest = value.partition("'")
    _, quote, escaped = rest.partition("'")
    if not quote or charset.lower() not in {"utf-8", "iso-8859-1"}:
        return None
    try:
        return unquote_to_bytes(escaped).decode(charset)
    except UnicodeDecodeError:
        return None


def _check_text(what: str, text: str, most: int) -> None:
    if len(text) > most:
        raise broken(f"a part's {what} is longer than {most} characters")
    if _CONTROL.search(text):
        raise broken(f"a part's {what} contains a control character")


# The body's own content type

_BOUNDARY: Final = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


def read_boundary(content_type: str) -> str:
    """The boundary that the Content-Type of a form names (RFC 2046 5.1.1). Raises Refused."""
    kind, _, _ = content_type.partition(";")
    if kind.strip(" \t").lower() != "multipart/form-data":
        raise broken("the content type is not multipart/form-data")
    _, parameters = _parameters(content_type, "the content type")
    boundary = parameters.get("boundary")
    if boundary is None:
        raise broken("the content type names no boundary")
    if boundary.startswith('"'):
        boundary = re.sub(r"\\(.)", r"\1", boundary[1:-1])
    if not _BOUNDARY.fullmatch(boundary):
        raise broken("the boundary is not 1 to 70 of the characters of RFC 2046")
    return boundary


def form_type(boundary: str) -> str:
    """The Content-Type of a form with this boundary."""
    quoted = boundary if _TOKEN.fullmatch(boundary) else f'"{boundary}"'
    return f"multipart/form-data; boundary={quoted}"
