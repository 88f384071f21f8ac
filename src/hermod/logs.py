"""What a log line looks like: one line, whatever a client or an upstream put into it."""

import logging
import sys

_CONTROLS = (*range(32), *range(127, 160), 0x2028, 0x2029)
_ESCAPES = {code: f"\\u{code:04x}" for code in _CONTROLS}
_ESCAPES_BUT_LINES = {code: text for code, text in _ESCAPES.items() if code != ord("\n")}


class _OneLine(logging.Formatter):
    """Control characters are shown, never obeyed."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return super().formatMessage(record).translate(_ESCAPES)

    def formatException(self, ei: object) -> str:
        # The base class's type for `ei` is private to the type stubs.
        return super().formatException(ei).translate(_ESCAPES_BUT_LINES)  # type: ignore[arg-type]


def set_up_logging(level: str, *, several: bool = False) -> None:
    """Log to standard error, at this level and above.

    `several` processes share it: each line says which one wrote it.
    """
    handler = logging.StreamHandler(sys.stderr)
    who = "[%(process)d] " if several else ""
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)s {who}%(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
