"""What a multipart body holds, without the contents of its files (RFC 7578)."""

from typing import NamedTuple


class FilePart(NamedTuple):
    """A file of a form."""

    name: str
    """The field."""
    filename: str
    content_type: str
    """As the client labelled it; empty if it did not."""
    size: int


class Form(NamedTuple):
    """The fields of a form in the order in which they came; names may repeat."""

    fields: tuple[tuple[str, str], ...]
    files: tuple[FilePart, ...]

    def text(self, name: str) -> str | None:
        """The first value of a text field."""
        return next((value for key, value in self.fields if key == name), None)

    def texts(self, name: str) -> tuple[str, ...]:
        """Every value of a text field."""
        return tuple(value for key, value in self.fields if key == name)

    def named(self, name: str) -> tuple[FilePart, ...]:
        """Every file of a field."""
        return tuple(file for file in self.files if file.name == name)
