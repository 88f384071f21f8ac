"""calls/redact.py: secrets within secrets."""

import json

import pytest

from hermod.calls.line import line_of
from hermod.calls.redact import Redactor, redacted
from hermod.domain.provider import ProviderSettings, Secret
from hermod.providers.registry import load_rows

TOKEN = "canary-0123456789"
SLASHED = "canary/01+23/45+67=="


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Basic"])
def test_a_token_is_found_without_the_scheme_it_is_sent_with(scheme: str) -> None:
    body = b'{"error":"no such key: canary-0123456789"}'
    assert redacted(body, [f"{scheme} {TOKEN}"]) == b'{"error":"no such key: ***"}'
    assert b"canary" not in Redactor([f"{scheme} {TOKEN}"]).feed(body)


@pytest.mark.parametrize("secrets", [[TOKEN, TOKEN + "-long"], [TOKEN + "-long", TOKEN]])
def test_of_a_secret_within_another_nothing_is_left(secrets: list[str]) -> None:
    body = f"{TOKEN}-long {TOKEN}".encode()
    assert redacted(body, secrets) == b"*** ***"
    assert Redactor(secrets).feed(body + b".") == b"*** ***."


JSON_FORMS = {
    "as it is": SLASHED,
    "PHP": SLASHED.replace("/", "\\/"),
    "System.Text.Json": SLASHED.replace("+", "\\u002B"),
    "Gson": SLASHED.replace("=", "\\u003d"),
}
"""The same text as one encoder or another writes it."""


@pytest.mark.parametrize("form", JSON_FORMS.values(), ids=JSON_FORMS)
def test_a_secret_is_found_however_json_is_written(form: str) -> None:
    body = f'{{"message":"no such key: {form}"}}'.encode()
    assert json.loads(body)["message"].endswith(SLASHED)
    assert redacted(body, [SLASHED]) == b'{"message":"no such key: ***"}'
    redactor = Redactor([SLASHED])
    assert b"canary" not in b"".join(redactor.feed(bytes([byte])) for byte in body)


def test_a_secret_that_no_header_could_hold_is_masked_too() -> None:
    assert redacted("canary-🔑-0123".encode(), ["canary-🔑-0123"]) == b"***"


def test_only_headers_that_hold_secrets_are_masked() -> None:
    """A title that was masked in every answer would change what models say."""
    headers = (
        ("X-Title", Secret("Hermod gateway")),
        ("HTTP-Referer", Secret("https://hermod.example")),
        ("X-Auth-Token", Secret("canary-token-1")),
        ("api-key", Secret("canary-token-2")),
    )
    row = load_rows()["openai"]
    provider = ProviderSettings("openai", "file", row, row.base_url, (), 1, 0, 1, 1, 1, headers)
    assert line_of(provider, None).secrets == ("canary-token-1", "canary-token-2")
