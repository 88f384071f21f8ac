"""`python -m tests.docs.write_providers`: write the table of providers to docs/reference."""

from collections.abc import Iterable
from pathlib import Path

from hermod.domain.provider import Row
from hermod.providers.capabilities import REQUEST_TYPES, mock_served, served, unconfigured
from hermod.providers.registry import KNOWN_PROVIDERS, MOCK, load_rows

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "providers.md"
_SHORT = {
    "chat_completion": "chat",
    "text_completion": "text",
    "responses": "responses",
    "embedding": "embeddings",
    "speech": "speech",
    "transcription": "transcripts",
    "image_generation": "images",
    "image_edit": "edits",
    "image_variation": "variations",
    "rerank": "rerank",
    "ocr": "OCR",
}
_INTRO = """\
# Providers

What every provider can be asked for. Made from `src/hermod/providers/providers.toml` by
`make providers-doc`; `hermod providers` shows the same on your machine, with what is configured.
How to configure them: [providers](../how-to/providers.md).

● served, ○ translated to and from chat completions, ◐ the same where
`client.compat.convert_text_to_chat` is on. Streams come piece by piece for chat, text and
responses, but from Replicate, whose answers come whole. A type that is not offered fails its job at
once, with the code `unsupported_operation`.
"""
_SETTINGS = """
## Addresses and variables

The first variable that is set counts. Where a key has no value, bedrock signs (SigV4), azure gets a
token of Entra ID and vertex one of a service account.
"""
_LATER = """
## Known by name, still without an adapter

Their jobs fail as not configured: """


def page() -> str:
    """The whole of it."""
    rows = load_rows()
    ours = [_line(MOCK, ["●" if name in mock_served() else "" for name in REQUEST_TYPES])]
    lines = [_INTRO, _line("", [_SHORT[name] for name in REQUEST_TYPES])]
    lines += [_line("---", [":-:"] * len(REQUEST_TYPES)), *ours]
    lines += [_line(name, _marks(rows[name])) for name in sorted(rows)]
    lines += [_SETTINGS, _line("", ["address", "key", "variables"]), _line("---", ["---"] * 3)]
    for name in sorted(rows):
        row = rows[name]
        variables = ", ".join(f"`{each}`" for each in (*row.key_env, *row.url_env))
        address = f"`{row.base_url}`" if row.base_url else "of your resource"
        shown = f"`{row.auth.value}`" + (", not needed" if row.keyless else "")
        lines.append(_line(name, [address, shown, variables]))
    later = sorted(KNOWN_PROVIDERS - rows.keys() - {MOCK})
    lines.append(_LATER + ", ".join(later) + ".")
    return "\n".join(lines) + "\n"


def _marks(row: Row) -> list[str]:
    provider = unconfigured(row)
    usual, more = served(provider), served(provider, text_to_chat=True)
    found: list[str] = []
    for name in REQUEST_TYPES:
        if name in usual:
            found.append("○" if usual[name].through else "●")
        else:
            found.append("◐" if name in more else "")
    return found


def _line(first: str, cells: Iterable[str]) -> str:
    return f"| {' | '.join((first, *cells))} |"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
