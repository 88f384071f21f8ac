"""A new request type is one file, its line in the registry and a recorded example: then it runs."""

import json
from pathlib import Path

from tests.kinds.twelfth import tree
from tests.support.program import Gateway, client
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until

RECORDED = json.loads((tree.HERE / "moderation.json").read_text("utf-8"))
JOBS = "/v1/async/moderations"


def test_a_job_a_call_and_the_description_of_a_new_request_type(tmp_path: Path) -> None:
    copy = tree.with_a_twelfth_kind(tmp_path)
    with Upstream() as upstream:
        upstream.plan("omni-moderation-latest", Reply(body=json.dumps(RECORDED["reply"]).encode()))
        config = {
            "providers": {
                "ours": {
                    "network_config": {"base_url": upstream.url},
                    "custom_provider_config": {
                        "base_provider_type": "openai",
                        "is_key_less": True,
                        "request_path_overrides": {"moderation": "/v1/moderations"},
                    },
                }
            }
        }
        request = RECORDED["request"] | {"model": "ours/omni-moderation-latest"}
        environ = tree.environ(copy)
        with (
            Gateway(tmp_path / "app", config=config, environ=environ) as gateway,
            client(gateway) as http,
        ):
            refused = http.post(JOBS, json={"model": request["model"]})
            assert refused.json()["error"]["message"] == "input is required for moderation"
            accepted = http.post(JOBS, json=request)
            assert accepted.status_code == 202
            place = f"{JOBS}/{accepted.json()['id']}"
            wait_until(lambda: http.get(place).status_code == 200)
            job = http.get(place).json()
            assert job["status"] == "completed"
            assert job["result"]["results"] == RECORDED["reply"]["results"]
            assert job["result"]["extra_fields"]["request_type"] == "moderation"
            called = http.post("/v1/moderations", json=request)
            assert called.json()["results"] == RECORDED["reply"]["results"]
            assert {JOBS, "/v1/moderations"} <= http.get("/openapi.json").json()["paths"].keys()
        sent = [json.loads(call.body) for call in upstream.calls("omni-moderation-latest")]
        assert sent == [RECORDED["sent"]] * 2
