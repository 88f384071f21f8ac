"""Forms that are broken, hostile or merely odd, and what is to be made of each of them."""

from typing import NamedTuple

from hermod.kinds.form import FilePart

TYPE = "multipart/form-data; boundary=b0undary"
END = b"--b0undary--\r\n"
BOUNDARY_70 = "0b'()+_,-./:=? " * 4 + "0123456789"


class Broken(NamedTuple):
    """A form that is refused."""

    body: bytes
    detail: str
    """What the refusal says, behind `failed to parse multipart form: `."""
    content_type: str | None = TYPE
    status: int = 400


class Odd(NamedTuple):
    """A form that is accepted."""

    body: bytes
    fields: tuple[tuple[str, str], ...] = ()
    files: tuple[FilePart, ...] = ()
    content_type: str = TYPE


def part(*headers: bytes, contents: bytes = b"x") -> bytes:
    """A part with its boundary in front and a line break behind."""
    return (
        b"--b0undary\r\n"
        + b"".join(line + b"\r\n" for line in headers)
        + b"\r\n"
        + contents
        + b"\r\n"
    )


def disposition(parameters: bytes) -> bytes:
    return b"Content-Disposition: form-data; " + parameters


def one(parameters: bytes, *headers: bytes, contents: bytes = b"x") -> bytes:
    """A form of one part."""
    return part(disposition(parameters), *headers, contents=contents) + END


GOOD = part(disposition(b'name="model"'), contents=b"openai/whisper-1") + part(
    disposition(b'name="file"; filename="a.wav"'),
    b"Content-Type: audio/wav",
    contents=b"RIFF\r\n--b0",
)
NO_END = "the body ends before its last boundary"
NO_LINE_BREAK = "a boundary is not followed by a line break"
NO_BEGINNING = "the body does not begin with its boundary"
NO_HEADER = "a part's header is not a name, a colon and a value on one line"
NO_TYPE = "the content type is not multipart/form-data"
NO_BOUNDARY = "the content type names no boundary"
BAD_BOUNDARY = "the boundary is not 1 to 70 of the characters of RFC 2046"
MALFORMED = "a part's Content-Disposition is malformed"
CONTROL = "a part's header contains a control character"
NAME_CONTROL = "a part's name contains a control character"
FILE_CONTROL = "a part's file name contains a control character"

BROKEN = {
    # The content type
    "no content type": Broken(GOOD + END, NO_TYPE, None),
    "an empty content type": Broken(GOOD + END, NO_TYPE, ""),
    "json": Broken(b"{}", NO_TYPE, "application/json"),
    "a urlencoded form": Broken(b"model=a", NO_TYPE, "application/x-www-form-urlencoded"),
    "multipart/mixed": Broken(GOOD + END, NO_TYPE, "multipart/mixed; boundary=b0undary"),
    "no boundary": Broken(GOOD + END, NO_BOUNDARY, "multipart/form-data"),
    "only a charset": Broken(GOOD + END, NO_BOUNDARY, "multipart/form-data; charset=utf-8"),
    "an empty boundary": Broken(GOOD + END, BAD_BOUNDARY, "multipart/form-data; boundary="),
    "an empty quoted boundary": Broken(GOOD, BAD_BOUNDARY, 'multipart/form-data; boundary=""'),
    "a boundary of 71": Broken(GOOD, BAD_BOUNDARY, f"multipart/form-data; boundary={'b' * 71}"),
    "a boundary that ends in a space": Broken(GOOD, BAD_BOUNDARY, TYPE.replace("b0undary", '"b "')),
    "a boundary of other letters": Broken(GOOD, BAD_BOUNDARY, "multipart/form-data; boundary=bü"),
    "a boundary with a quote": Broken(GOOD, BAD_BOUNDARY, r'multipart/form-data; boundary="b\"c"'),
    "a boundary with a line break": Broken(
        GOOD, BAD_BOUNDARY, TYPE.replace("b0undary", '"b\r\nc"')
    ),
    "an open quote": Broken(
        GOOD, "the content type is malformed", 'multipart/form-data; boundary="b'
    ),
    "two boundaries": Broken(
        GOOD + END, "the content type has more than one boundary", f"{TYPE}; boundary=other"
    ),
    "another boundary": Broken(GOOD + END, NO_BEGINNING, "multipart/form-data; boundary=other"),
    # The framing
    "nothing": Broken(b"", NO_END),
    "one byte": Broken(b"-", NO_END),
    "json in a form": Broken(b'{"model":"openai/whisper-1"}', NO_BEGINNING),
    "no last boundary": Broken(GOOD, NO_END),
    "a last boundary without its end": Broken(GOOD + b"--b0undary\r\n", NO_END),
    "a last boundary cut short": Broken(GOOD + b"--b0undary-", NO_END),
    "half a boundary": Broken(GOOD + b"--b0un", NO_END),
    "a head without end": Broken(GOOD + b"--b0undary\r\nContent-Disp", NO_END),
    "LF only": Broken((GOOD + END).replace(b"\r\n", b"\n"), NO_LINE_BREAK),
    "CR only": Broken((GOOD + END).replace(b"\r\n", b"\r"), NO_LINE_BREAK),
    "LF in a head": Broken(
        b"--b0undary\r\nContent-Disposition: form-data; name=a\nX: y\r\n\r\nx\r\n" + END, CONTROL
    ),
    "a head that ends with LF": Broken(
        b'--b0undary\r\nContent-Disposition: form-data; name="a"\n\nx\r\n' + END, NO_END
    ),
    "CR in a head": Broken(one(b'name="a"', b"X: a\rb"), CONTROL),
    "blanks behind a boundary": Broken(
        (GOOD + END).replace(b"b0undary\r", b"b0undary \r"), NO_LINE_BREAK
    ),
    "a longer boundary": Broken(GOOD + b"--b0undaryX\r\n\r\n" + END, NO_LINE_BREAK),
    "the boundary in the contents": Broken(
        one(b'name="a"', contents=b"\r\n--b0undary?"), NO_LINE_BREAK
    ),
    "a preamble of a megabyte": Broken(b"p" * 1_000_000 + b"\r\n" + GOOD + END, NO_BEGINNING),
    "a preamble": Broken(b"This is a form.\r\n\r\n" + GOOD + END, NO_BEGINNING),
    "two line breaks in front": Broken(b"\r\n\r\n" + GOOD + END, NO_BEGINNING),
    "a boundary with one dash": Broken(b"-b0undary\r\n" + GOOD + END, NO_BEGINNING),
    "10,000 parts": Broken(one(b'name="a"').removesuffix(END) * 10_000 + END, "more than 64 parts"),
    "10,000 parts of nothing": Broken(
        b"--b0undary\r\n\r\n\r\n" * 10_000 + END, "a part has no Content-Disposition"
    ),
    "10,000 boundaries": Broken(
        b"--b0undary\r\n" * 10_000 + END, "a part has more than 16 headers"
    ),
    # The heads
    "no head": Broken(part() + END, "a part has no Content-Disposition"),
    "no disposition": Broken(
        part(b"Content-Type: text/plain") + END, "a part has no Content-Disposition"
    ),
    "a header without colon": Broken(one(b'name="a"', b"X-Header"), NO_HEADER),
    "a header without name": Broken(one(b'name="a"', b": value"), NO_HEADER),
    "a blank before the colon": Broken(one(b'name="a"', b"X : value"), NO_HEADER),
    "a folded header": Broken(one(b'name="a";', b' filename="b"'), NO_HEADER),
    "a header folded with a tab": Broken(one(b'name="a";', b'\tfilename="b"'), NO_HEADER),
    "NUL in a header": Broken(one(b'name="a"', b"X: \0"), CONTROL),
    "an escape in a header": Broken(one(b'name="a"', b"X: \x1b[31m"), CONTROL),
    "a huge header": Broken(
        one(b'name="a"', b"X: " + b"y" * 100_000), "a part's header is longer than 8192 bytes"
    ),
    "a huge name of a header": Broken(
        one(b'name="a"', b"X" * 100_000), "a part's header is longer than 8192 bytes"
    ),
    "a thousand headers": Broken(
        one(b'name="a"', *[b"X: y"] * 1_000), "a part has more than 16 headers"
    ),
    "two dispositions": Broken(
        one(b'name="a"', disposition(b'name="b"')),
        "a part has more than one content-disposition header",
    ),
    "two content types": Broken(
        one(b'name="a"', b"Content-Type: text/plain", b"content-type: text/html"),
        "a part has more than one content-type header",
    ),
    "an attachment": Broken(
        part(b'Content-Disposition: attachment; name="a"') + END,
        "a part's Content-Disposition is not form-data",
    ),
    "an empty disposition": Broken(
        part(b"Content-Disposition:") + END, "a part's Content-Disposition is not form-data"
    ),
    "8 bits that are not UTF-8": Broken(one(b'name="caf\xe9"'), "a part's header is not UTF-8"),
    "half a character": Broken(one(b'name="\xf0\x9f\x98"'), "a part's header is not UTF-8"),
    "a surrogate": Broken(one(b'name="\xed\xa0\x80"'), "a part's header is not UTF-8"),
    "a long form of NUL": Broken(one(b'name="\xc0\x80"'), "a part's header is not UTF-8"),
    "base64": Broken(
        one(b'name="a"', b"Content-Transfer-Encoding: base64", contents=b"eA=="),
        "Content-Transfer-Encoding 'base64' is not supported",
    ),
    "quoted-printable": Broken(
        one(b'name="a"', b"Content-Transfer-Encoding: Quoted-Printable", contents=b"=3D"),
        "Content-Transfer-Encoding 'Quoted-Printable' is not supported",
    ),
    "multipart in multipart": Broken(
        one(
            b'name="a"',
            b"Content-Type: multipart/mixed; boundary=c",
            contents=b"--c\r\n\r\n\r\n--c--",
        ),
        "a part is itself multipart, which RFC 7578 has done away with",
    ),
    # Names
    "no name": Broken(one(b'filename="a"'), "a part has no name"),
    "an empty name": Broken(one(b'name=""'), "a part has no name"),
    "a name that is only extended": Broken(one(b"name*=utf-8''a"), "a part has no name"),
    "two names": Broken(
        one(b'name="a"; name="b"'), "a part's Content-Disposition has more than one name"
    ),
    "two file names": Broken(
        one(b'name="a"; filename="b"; FILENAME="c"'),
        "a part's Content-Disposition has more than one filename",
    ),
    "an open quoted name": Broken(one(b'name="a'), MALFORMED),
    "a quoted name that ends in a backslash": Broken(one(b'name="a\\"'), MALFORMED),
    "something behind a quoted name": Broken(one(b'name="a"b'), MALFORMED),
    "a parameter without value": Broken(one(b'name="a"; filename'), MALFORMED),
    "nothing but semicolons": Broken(one(b";;;"), MALFORMED),
    "a thousand open quotes": Broken(one(b'name="\\' * 1_000), MALFORMED),
    "NUL in a name": Broken(one(b'name="a\0b"'), CONTROL),
    "a tab in a name": Broken(one(b'name="a\tb"'), NAME_CONTROL),
    "CR in a name, encoded": Broken(one(b'name="a%0Db"'), NAME_CONTROL),
    "LF in a file name, encoded": Broken(one(b'name="a"; filename="b%0Ac"'), FILE_CONTROL),
    "a C1 control in a file name": Broken(one(b'name="a"; filename="b\xc2\x9bc"'), CONTROL),
    "NUL in an extended file name": Broken(one(b"name=\"a\"; filename*=utf-8''b%00"), FILE_CONTROL),
    "an extended file name in no UTF-8": Broken(
        one(b"name=\"a\"; filename*=utf-8''%ff"), "a part's filename* is in no encoding we know"
    ),
    "an extended file name in EBCDIC": Broken(
        one(b"name=\"a\"; filename*=cp500''a"), "a part's filename* is in no encoding we know"
    ),
    # Contents
    "a text that is not UTF-8": Broken(
        one(b'name="a"', contents=b"\xff"), "the field 'a' is not UTF-8"
    ),
    "a text cut in a character": Broken(
        one(b'name="a"', contents=b"\xe2\x82"), "the field 'a' is not UTF-8"
    ),
}


def _text(parameters: bytes, name: str, *headers: bytes) -> Odd:
    return Odd(one(parameters, *headers), ((name, "x"),))


def _file(
    parameters: bytes, name: str, filename: str, *headers: bytes, content_type: str = ""
) -> Odd:
    return Odd(one(parameters, *headers), (), (FilePart(name, filename, content_type, 1),))


_A = (("a", "x"),)

ODD = {
    "no parts": Odd(END),
    "no line break at the end": Odd(one(b'name="a"').removesuffix(b"\r\n"), _A),
    "a line break in front": Odd(b"\r\n" + one(b'name="a"'), _A),
    "an epilogue": Odd(one(b'name="a"') + b"--b0undary\r\nanything\0\xff" * 100, _A),
    "no contents": Odd(one(b'name="a"', contents=b""), (("a", ""),)),
    "no contents and no line break": Odd(
        b"--b0undary\r\n" + disposition(b'name="a"') + b"\r\n\r\n" + END, (("a", ""),)
    ),
    "line breaks for contents": Odd(one(b'name="a"', contents=b"\r\n\r\n"), (("a", "\r\n\r\n"),)),
    "contents like boundaries": Odd(
        one(b'name="a"', contents=b"\r\r\n-\r\n--\r\n--b0undar\r\n--b0undarz"),
        (("a", "\r\r\n-\r\n--\r\n--b0undar\r\n--b0undarz"),),
    ),
    "the boundary within a line": Odd(
        one(b'name="a"', contents=b" --b0undary--"), (("a", " --b0undary--"),)
    ),
    "repeated fields": Odd(
        one(b'name="a"').removesuffix(END) + one(b'name="b"').removesuffix(END) + one(b'name="a"'),
        (("a", "x"), ("b", "x"), ("a", "x")),
    ),
    "no quotes": _file(b"name=a; filename=b.wav", "a", "b.wav"),
    "no quotes and a blank": _file(b"name=a; filename=my file.wav", "a", "my file.wav"),
    "other cases": Odd(part(b'CONTENT-disposition:FORM-data;NAME="a"') + END, _A),
    "blanks and tabs": Odd(
        part(b'Content-Disposition: \t form-data \t;\t name = "a" ;\tfilename\t=\t"b" \t') + END,
        (),
        (FilePart("a", "b", "", 1),),
    ),
    "a last semicolon": _text(b'name="a";', "a"),
    "unknown parameters": _text(b'name="a"; size=1; x="y"', "a"),
    "unknown headers": _text(b'name="a"', "a", b"Content-Length: 77", b"X-Y:", b"x-y: z"),
    "an empty file input": Odd(one(b'name="a"; filename=""', contents=b"")),
    "a file without a name": _file(b'name="a"; filename=""', "a", ""),
    "a file without contents": Odd(
        one(b'name="a"; filename="b"', contents=b""), (), (FilePart("a", "b", "", 0),)
    ),
    "a file that is no UTF-8": Odd(
        one(b'name="a"; filename="b"', contents=b"\xff\0"), (), (FilePart("a", "b", "", 2),)
    ),
    "a content type": _file(
        b'name="a"; filename="b"',
        "a",
        "b",
        b"Content-Type:  Audio/WAV; x=y ",
        content_type="Audio/WAV; x=y",
    ),
    "8bit": _text(b'name="a"', "a", b"Content-Transfer-Encoding: 8BIT"),
    "a quote, as browsers write it": _text(b'name="a%22b"', 'a"b'),
    "a quote behind a backslash": _text(b'name="a\\"b\\\\c"', 'a"b\\c'),
    "backslashes": _file(b'name="a"; filename="C:\\dir\\b.wav"', "a", "C:\\dir\\b.wav"),
    "two backslashes at the end": _text(b'name="a\\\\"', "a\\\\"),
    "a semicolon in a name": _text(b'name="a;b=c"', "a;b=c"),
    "other percents": _text(b'name="100%25%0a%"', "100%25%0a%"),
    "four-byte characters": _file(
        'name="é€"; filename="😀\u2028.wav"'.encode(), "é€", "😀\u2028.wav"
    ),
    "an extended file name": _file(b"name=\"a\"; filename*=UTF-8''na%C3%AFve%20b", "a", "naïve b"),
    "both file names": _file(
        b"name=a; filename=\"=?utf-8?B?w6k=?=\"; filename*=utf-8''%C3%A9", "a", "é"
    ),
    "an extended file name in Latin-1": _file(b"name=a; filename*=iso-8859-1'en'%e9", "a", "é"),
    "an extended file name that cannot be read": _file(
        b"name=a; filename=b; filename*=x", "a", "b"
    ),
    "markup": _text(b'name="<script>\'; DROP TABLE jobs; --"', "<script>'; DROP TABLE jobs; --"),
    "a boundary of 70 with blanks": Odd(
        one(b'name="a"').replace(b"b0undary", BOUNDARY_70.encode()),
        _A,
        (),
        f'multipart/form-data; boundary="{BOUNDARY_70}"',
    ),
    "a boundary in quotes": Odd(
        one(b'name="a"'), _A, (), 'Multipart/Form-Data ; Boundary="b0undary"'
    ),
    "a charset": Odd(
        one(b'name="a"'), _A, (), "multipart/form-data; charset=utf-8; boundary=b0undary"
    ),
}
