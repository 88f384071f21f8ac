"""`extra_params`, in which OpenAI's clients pack fields their types do not have."""

import json

import pytest

from hermod.doors.prefix import spread


def test_its_members_stand_beside_the_others() -> None:
    body = b'{"model":"a/b","extra_params":{"top_k":5,"seed":1.50}}'
    assert json.loads(spread(body)) == {"model": "a/b", "top_k": 5, "seed": 1.5}
    assert b"1.50" in spread(body)


def test_the_requests_own_members_win() -> None:
    body = b'{"model":"a/b","extra_params":{"model":"c/d"}}'
    assert json.loads(spread(body)) == {"model": "a/b"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a/b"}',
        b'{"extra_params":[1]}',
        b'{"extra_params":null}',
        b'{"messages":[{"extra_params":{}}]}',
        b'{"extra_params":{',
        b'"extra_params"',
        b"[" * 100 + b'"extra_params"',
    ],
)
def test_anything_else_is_left_alone(body: bytes) -> None:
    assert spread(body) == body
