"""A stream that is OpenAI's already, for dialects that have others to translate."""

from hermod.domain.usage import Usage
from hermod.providers.bridge.chunks import Chunks


class AsItComes:
    """Passes every piece on; only the usage is read."""

    def __init__(self) -> None:
        self._chunks = Chunks(None)

    @property
    def usage(self) -> Usage | None:
        """See `StreamTranslator.usage`."""
        return self._chunks.usage

    def feed(self, piece: bytes) -> bytes:
        """See `StreamTranslator.feed`."""
        self._chunks.feed(piece)
        return piece

    def end(self) -> bytes:
        """See `StreamTranslator.end`."""
        self._chunks.end()
        return b""
