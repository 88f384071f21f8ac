"""What is stored of a provider: masks in the open, secrets apart."""

import json

import pytest

from hermod.domain.document import Document
from hermod.governance.provider_documents import (
    Members,
    Stored,
    decode,
    encode,
    is_mask,
    mask,
    put_together,
    taken_apart,
    with_kept,
)

LONG = "sk-canary-0123456789-abcdefghij-WXYZ"
WHOLE: Members = {
    "keys": [
        {
            "id": "a",
            "name": "one",
            "value": {"value": LONG, "env_var": "", "from_env": False},
            "azure_key_config": {"client_secret": "canary-1", "client_id": "shown"},
        },
        {
            "id": "b",
            "value": "canary-2",
            "bedrock_key_config": {
                "access_key": "canary-3",
                "secret_key": "canary-4",
                "session_token": "canary-5",
                "region": "eu-west-1",
            },
            "vertex_key_config": {"auth_credentials": '{"canary": 6}'},
        },
    ],
    "network_config": {"base_url": "https://a.example", "extra_headers": {"X-A": "canary-7"}},
    "proxy_config": {"url": "canary-8", "username": "canary-9", "password": "canary-10"},
}


def test_no_secret_stays_in_the_open_part() -> None:
    shown, secrets = taken_apart(WHOLE)
    assert "canary" not in json.dumps(shown).replace(mask(LONG), "")
    assert secrets.count(b"canary") == 11
    assert "shown" in json.dumps(shown)


def test_both_parts_make_the_whole() -> None:
    shown, secrets = taken_apart(WHOLE)
    again = put_together(shown, secrets)
    assert taken_apart(again) == (shown, secrets)
    assert "canary-7" in json.dumps(again)


@pytest.mark.parametrize("secrets", [b"[]", b'{"[\\"keys\\",9,\\"value\\"]":"x"}', b"{"])
def test_parts_of_different_things_are_no_provider(secrets: bytes) -> None:
    shown, _ = taken_apart(WHOLE)
    with pytest.raises(ValueError, match=r"secret|Expecting"):
        put_together(shown, secrets)


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"members":[],"sealed":""}', b'{"members":{}}'])
def test_another_body_is_no_provider(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"not a provider|Expecting"):
        decode(Document("provider", "a", "a", None, body))


def test_a_document_says_what_was_stored() -> None:
    stored = Stored({"keys": []}, "v1:x:y", 1, 2)
    assert decode(encode("a", stored, 3)) == stored


@pytest.mark.parametrize("secret", ["x", "sk-short-canary", "x" * 23])
def test_nothing_is_shown_of_a_short_secret(secret: str) -> None:
    assert set(mask(secret)) == {"*"}
    assert is_mask(mask(secret))


def test_masks_are_replaced_by_what_they_stand_for() -> None:
    shown, _ = taken_apart(WHOLE)
    keys = shown["keys"]
    assert isinstance(keys, list)
    keys.reverse()
    keys[1].pop("id")  # told by its name then
    found, lost = with_kept(shown, WHOLE)
    assert lost == []
    assert "***" not in json.dumps(found)
    assert found["keys"][1]["value"] == LONG  # type: ignore[index]


def test_masks_of_something_else_are_told() -> None:
    shown, _ = taken_apart(WHOLE)
    keys = shown["keys"]
    assert isinstance(keys, list)
    keys[0]["id"], keys[0]["name"] = "new", "new"
    _, lost = with_kept(shown, WHOLE)
    assert lost == ["keys.0.value", "keys.0.azure_key_config.client_secret"]


@pytest.mark.parametrize("odd", [{"keys": 3}, {"keys": [3, None, []]}, {"network_config": "x"}])
def test_what_is_badly_shaped_is_left_to_its_reader(odd: Members) -> None:
    assert taken_apart(odd) == (odd, b"")
    assert with_kept(odd, WHOLE) == (odd, [])
