"""The management API on PostgreSQL: what differs is the store, so one pass through all of it."""

import uuid
from pathlib import Path

from tests.support.inprocess import gateway
from tests.support.management import (
    KEYS,
    LOGIN,
    PASSWORD,
    ROOT,
    USERNAME,
    made,
    refused,
    well,
)
from tests.support.postgres import Cluster


async def test_what_can_be_managed_can_be_managed_on_postgresql(
    tmp_path: Path, cluster: Cluster
) -> None:
    name = f"api_{uuid.uuid4().hex}"
    cluster.create_database(name)
    config = LOGIN | {"encryption_key": "a key of the operator's own"}
    async with gateway(tmp_path, config=config, database=cluster.url(name)) as running:
        http = running.http
        body = {"username": USERNAME, "password": PASSWORD}
        well(await http.post("/api/session/login", json=body))
        customer = await made(http, f"{ROOT}/customers", name="c")
        team = await made(http, f"{ROOT}/teams", name="t", customer_id=customer["id"])
        budget = {"max_limit": 10.5, "reset_duration": "1d"}
        key = await made(http, name="k", team_id=team["id"], budget=budget)
        here = f"{KEYS}/{key['id']}"
        refused(await http.post(KEYS, json={"name": "k"}), 409)
        change = {"description": "d", "budget": budget | {"calendar_aligned": True}}
        changed = well(await http.put(here, json=change))["virtual_key"]
        assert changed["budget"]["id"] == key["budget"]["id"]
        rotated = well(await http.post(f"{here}/rotate"))["virtual_key"]
        assert rotated["value"] != key["value"]
        well(await http.post(f"{here}/token"))
        well(await http.delete(f"{ROOT}/teams/{team['id']}"))
        assert "team_id" not in well(await http.get(here))["virtual_key"]
        well(await http.delete(here))
        refused(await http.get(here), 404)
        assert well(await http.get(f"{ROOT}/audit"))["count"] == 10
        well(await http.post("/api/session/logout"))
        refused(await http.get(KEYS), 401)
