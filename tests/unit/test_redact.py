"""calls/redact.py: what an upstream repeats of our secrets."""

import pytest

from hermod.calls.redact import redacted

SECRET = "sk-CANARY-0123456789"


@pytest.mark.parametrize(
    "body",
    [
        b'{"error":{"message":"bad key sk-CANARY-0123456789"}}',
        b'{"choices":[{"text":"Authorization: Bearer sk-CANARY-0123456789 sk-CANARY-0123456789"}]}',
    ],
)
def test_no_secret_survives(body: bytes) -> None:
    cleaned = redacted(body, [SECRET, "another-secret"])
    assert b"CANARY" not in cleaned
    assert b"***" in cleaned


def test_a_body_without_secrets_is_the_same_object() -> None:
    body = b'{"choices":[]}'
    assert redacted(body, [SECRET]) is body


@pytest.mark.parametrize("secret", ["", "x", "1234567"])
def test_a_short_secret_is_left_alone(secret: str) -> None:
    assert redacted(b"x 1234567", [secret]) == b"x 1234567"
