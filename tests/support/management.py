"""An administrator, and what one makes, over the management API."""

from typing import Any, Final

import httpx

TOKEN: Final = "canary-admin-token-0123456789"
ADMIN: Final = {"Authorization": f"Bearer {TOKEN}"}
ENVIRON: Final = {"HERMOD_ADMIN_TOKEN": TOKEN}
ROOT: Final = "/api/governance"
KEYS: Final = f"{ROOT}/virtual-keys"
USERNAME: Final = "root"
PASSWORD: Final = "correct horse battery"
LOGIN: Final[dict[str, Any]] = {
    "auth_config": {"is_enabled": True, "admin_username": USERNAME, "admin_password": PASSWORD}
}
"""Configuration with which a browser can log in."""


def refused(response: httpx.Response, status: int) -> str:
    """The message of an error, which must be in the wire's shape (wire-contract 4.2)."""
    assert response.status_code == status, response.text
    whole = response.json()
    assert whole["is_bifrost_error"] is False
    assert whole["status_code"] == status
    assert whole["extra_fields"] == {}
    return whole["error"]["message"]


def well(response: httpx.Response) -> Any:
    """The JSON of an answer that says yes."""
    assert response.status_code == 200, response.text
    assert response.headers["cache-control"] == "no-store"
    return response.json()


async def made(http: httpx.AsyncClient, path: str = KEYS, **members: Any) -> dict[str, Any]:
    """A new thing, as its making answered it."""
    whole = well(await http.post(path, json={"name": "made", **members}))
    (member,) = whole.keys() - {"message"}
    return whole[member]
