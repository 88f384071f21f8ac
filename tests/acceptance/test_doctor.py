"""`hermod doctor`: the installed program, and upstreams that are well or not."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest

from tests.faults.places import Place
from tests.support.pages import Page, Pages, make_certificate
from tests.support.program import HERMOD, Gateway

LIST = {"object": "list", "data": [{"id": "small"}, {"id": "large"}]}
SECRET = "sk-canary-1234567890"
CLEAN = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}


def doctor(
    *arguments: str, environ: Mapping[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """The program run to its end."""
    return subprocess.run(
        [str(HERMOD), "doctor", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
        env={**CLEAN, **(environ or {})},
    )


class Told:
    """What it found in a configuration of the test's."""

    def __init__(
        self, app_dir: Path, providers: Any, *flags: str, environ: Mapping[str, str] | None = None
    ) -> None:
        (app_dir / "config.json").write_text(json.dumps({"providers": providers}), "utf-8")
        port = () if "--port" in flags else ("--port", "0")
        done = doctor("--app-dir", str(app_dir), "--json", *port, *flags, environ=environ)
        assert done.stdout, done.stderr
        assert "Traceback" not in done.stderr
        assert SECRET not in done.stdout + done.stderr
        self.code = done.returncode
        told = json.loads(done.stdout)
        assert told["exit_code"] == done.returncode
        self.findings: list[dict[str, str]] = told["findings"]

    def of(self, subject: str) -> tuple[str, str, str]:
        """Grade, text and remedy of the only finding of a subject."""
        (found,) = [each for each in self.findings if each["subject"] == subject]
        return found["grade"], found["text"], found["remedy"]


def at(url: str, *keys: str, **network: Any) -> dict[str, Any]:
    """A provider at this address."""
    named = [{"name": f"key-{n}", "value": value} for n, value in enumerate(keys or (SECRET,), 1)]
    return {"keys": named, "network_config": {"base_url": url, **network}}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost."""
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture
def pages() -> Iterator[Pages]:
    """An upstream with a list of models, which refuses one key."""
    refused = Page({"error": {"message": f"Incorrect API key provided: {SECRET}-bad"}}, 401)
    with Pages({"/v1/models": Page(LIST), f"/v1/models {SECRET}-bad": refused}) as running:
        yield running


def test_a_machine_where_all_is_well(tmp_path: Path, pages: Pages) -> None:
    told = Told(tmp_path, {"openai": at(pages.url)})
    assert told.of("openai key-1")[0] == "ok"
    assert "accepted, 2 models" in told.of("openai key-1")[1]
    assert told.of("app dir")[0] == told.of("store")[0] == told.of("clock")[0] == "ok"
    assert "a start will make its tables" in told.of("store")[1]
    assert told.code == 0


def test_it_changes_nothing(tmp_path: Path, pages: Pages) -> None:
    Told(tmp_path, {"openai": at(pages.url)})
    assert [each.name for each in tmp_path.iterdir()] == ["config.json"]


def test_a_refused_key_is_told_from_a_good_one(tmp_path: Path, pages: Pages) -> None:
    told = Told(tmp_path, {"openai": at(pages.url, "sk-fine-1234567", f"{SECRET}-bad")})
    assert told.of("openai key-1")[0] == "ok"
    grade, text, remedy = told.of("openai key-2")
    assert grade == "error"
    assert "was refused (401: Incorrect API key provided: ***" in text
    assert 'the key "key-2" of providers.openai in config.json' in remedy
    assert told.code == 2


def test_a_refused_key_of_the_environment_is_called_by_its_variable(
    tmp_path: Path, pages: Pages
) -> None:
    pages.pages["/v1/models"] = Page({"error": "no"}, 401)
    environ = {"OLLAMA_HOST": pages.url, "OLLAMA_API_KEY": SECRET}
    told = Told(tmp_path, {}, environ=environ)
    assert "check the value of OLLAMA_API_KEY" in told.of("ollama OLLAMA_API_KEY")[2]


@pytest.mark.parametrize(
    ("status", "grade", "says"),
    [
        (402, "error", "no credit left"),
        (403, "error", "may not do this"),
        (404, "warning", "not to this question"),
        (429, "warning", "over a limit"),
        (503, "warning", "has trouble"),
    ],
)
def test_other_refusals_are_explained(
    tmp_path: Path, pages: Pages, status: int, grade: str, says: str
) -> None:
    pages.pages["/v1/models"] = Page({"error": {"message": "because"}}, status)
    found = Told(tmp_path, {"openai": at(pages.url)}).of("openai key-1")
    assert found[0] == grade
    assert says in found[1]
    assert f"({status}: because)" in found[1]


def test_a_redirect_is_not_followed(tmp_path: Path, pages: Pages) -> None:
    pages.pages["/v1/models"] = Page("", 302, {"Location": "https://thief.example/v1/models"})
    grade, text, remedy = Told(tmp_path, {"openai": at(pages.url)}).of("openai key-1")
    assert grade == "error"
    assert "sends us on to thief.example" in text
    assert "providers.openai.network_config.base_url" in remedy


def test_a_page_for_people_is_no_list(tmp_path: Path, pages: Pages) -> None:
    pages.pages["/v1/models"] = Page("<!doctype html><html>Welcome</html>")
    grade, text, _ = Told(tmp_path, {"openai": at(pages.url)}).of("openai key-1")
    assert (grade, "a page for people" in text) == ("error", True)


def test_nobody_there_and_no_such_name(tmp_path: Path) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
        providers = {"openai": at(nobody), "groq": at("http://no-such-host.invalid")}
        told = Told(tmp_path, providers, environ={"HTTPS_PROXY": "http://proxy.example:3128"})
    assert "nobody listens at 127.0.0.1" in told.of("openai key-1")[1]
    assert "no-such-host.invalid cannot be resolved" in told.of("groq key-1")[1]
    assert "HTTPS_PROXY is set, but calls go out directly" in told.of("groq key-1")[2]
    assert told.code == 2


def test_one_that_hangs_is_given_up(tmp_path: Path, pages: Pages) -> None:
    pages.pages["/v1/models"] = Page(LIST, held=threading.Event())
    found = Told(tmp_path, {"openai": at(pages.url)}, "--timeout", "1").of("openai key-1")
    assert found[:2] == ("error", f"no answer from localhost:{pages.port} within 1 s")


def test_keys_are_tried_at_the_same_time(tmp_path: Path, pages: Pages) -> None:
    """Each is answered only once the other has asked."""
    one, two = threading.Event(), threading.Event()
    pages.pages["/v1/models sk-one"] = Page(LIST, held=two, opens=one)
    pages.pages["/v1/models sk-two"] = Page(LIST, held=one, opens=two)
    told = Told(tmp_path, {"openai": at(pages.url, "sk-one", "sk-two")}, "--timeout", "50")
    assert told.of("openai key-1")[0] == told.of("openai key-2")[0] == "ok"


def test_certificates_that_are_not_trusted(tmp_path: Path, certificate: Path) -> None:
    with Pages({"/v1/models": Page(LIST)}, certificate) as pages:
        plain = pages.url.replace("https:", "http:")
        other = pages.url.replace("localhost", "127.0.0.1")
        pem = (certificate / "cert.pem").read_text()
        told = Told(
            tmp_path,
            {
                "openai": at(pages.url),
                "groq": at(pages.url, ca_cert_pem=pem),
                "mistral": at(other, ca_cert_pem=pem),
                "xai": at(plain),
            },
        )
    assert "an authority that is not known here" in told.of("openai key-1")[1]
    assert "providers.openai.network_config.ca_cert_pem" in told.of("openai key-1")[2]
    assert "SSL_CERT_FILE" in told.of("openai key-1")[2]
    assert told.of("groq key-1")[0] == "ok"
    assert "a certificate for another name" in told.of("mistral key-1")[1]
    assert told.of("xai key-1")[0] == "error"


def test_tls_at_a_port_without_it(tmp_path: Path, pages: Pages) -> None:
    found = Told(tmp_path, {"openai": at(pages.url.replace("http:", "https:"))}).of("openai key-1")
    assert "does not speak TLS" in found[1]
    assert "write http://" in found[2]


def test_a_clock_that_is_wrong_is_noticed(tmp_path: Path, pages: Pages) -> None:
    pages.pages["/v1/models"] = Page(LIST, headers={"Date": formatdate(1e9, usegmt=True)})
    told = Told(tmp_path, {"openai": at(pages.url)})
    assert told.of("clock")[0] == "error"
    assert "ahead of the providers'" in told.of("clock")[1]


def test_each_provider_is_asked_in_its_own_way(tmp_path: Path, pages: Pages) -> None:
    pages.pages["/v1/key"] = Page({"data": {"label": "mine"}})
    told = Told(
        tmp_path,
        {
            "anthropic": at(pages.url),
            "openrouter": at(pages.url),
            "perplexity": at(pages.url),
            "vllm": {"network_config": {"base_url": pages.url}},
            "vertex": {
                "keys": [{"name": "express", "value": SECRET}],
                "network_config": {"base_url": pages.url},
            },
        },
    )
    by_path = {each.path.partition("?")[0]: each for each in pages.asked}
    asked = next(each for each in pages.asked if "limit" in each.path)
    assert asked.headers["x-api-key"] == SECRET
    assert asked.headers["anthropic-version"]
    assert told.of("openrouter key-1")[0] == "ok"
    assert by_path["/v1/key"].headers["authorization"] == f"Bearer {SECRET}"
    assert told.of("perplexity key-1")[0] == "warning"
    assert "without cost" in told.of("perplexity key-1")[1]
    assert "no key needed" in told.of("vllm")[1]
    assert any(path.endswith(":countTokens") for path in by_path)


def test_keys_that_cannot_be_tried_are_told_why(tmp_path: Path, pages: Pages) -> None:
    providers = {
        "openai": {
            "keys": [{"name": "off", "value": SECRET, "enabled": False}, {"name": "none"}],
            "network_config": {"base_url": pages.url},
        },
        "vertex": {"keys": [{"name": "lost", "vertex_key_config": {"region": "europe-west4"}}]},
        "azure": {"keys": [{"name": "nowhere", "value": SECRET}]},
        "bedrock": at("https://proxy.example"),
    }
    told = Told(tmp_path, providers)
    assert told.of("openai off") == ("ok", "switched off, not tried", "")
    assert told.of("openai none")[:2] == ("error", "has no value")
    assert "project_id is missing" in told.of("vertex lost")[1]
    assert told.of("azure nowhere")[:2] == ("error", "has no address: its jobs fail")
    assert told.of("bedrock key-1")[:2] == ("warning", "cannot be tried without cost")
    assert pages.asked == []


def test_one_provider_alone(tmp_path: Path, pages: Pages) -> None:
    providers = {"openai": at(pages.url), "groq": at("http://no-such-host.invalid")}
    told = Told(tmp_path, providers, "--provider", "openai")
    assert {each["subject"] for each in told.findings} == {"openai key-1", "clock"}
    done = doctor("--app-dir", str(tmp_path), "--provider", "xai")
    assert (done.returncode, "xai is not configured (openai, groq)" in done.stderr) == (2, True)


def test_a_broken_configuration_is_told_like_everything_else(tmp_path: Path) -> None:
    told = Told(tmp_path, {"opnai": {}})
    assert 'did you mean "openai"?' in told.of("config")[1]
    assert told.code == 2


def test_warnings_and_ignored_keys_of_the_file_are_warnings(tmp_path: Path, pages: Pages) -> None:
    providers = {"openai": {**at(pages.url), "keyz": 1, "proxy_config": {"type": "http"}}}
    told = Told(tmp_path, providers)
    texts = [each["text"] for each in told.findings if each["subject"] == "config"]
    assert any("unknown key" in text for text in texts)
    assert any("providers.openai.proxy_config is ignored" in text for text in texts)
    assert told.code == 1


def test_a_public_address_without_an_encryption_key_is_a_warning(tmp_path: Path) -> None:
    environ = {"HERMOD_ADMIN_TOKEN": "a long secret of the operator"}
    told = Told(tmp_path, {}, "--host", "0.0.0.0", environ=environ)
    assert told.of("encryption")[0] == "warning"
    environ["HERMOD_ENCRYPTION_KEY"] = SECRET
    told = Told(tmp_path, {}, "--host", "0.0.0.0", environ=environ)
    assert told.of("encryption")[0] == "ok"


def test_a_port_of_another_program_is_told_from_a_gateways(tmp_path: Path, pages: Pages) -> None:
    told = Told(tmp_path, {}, "--port", str(pages.port))
    assert told.of("port")[:2] == ("error", f"{pages.port} is taken by another program")
    with Gateway(tmp_path) as gateway:
        told = Told(tmp_path, {}, "--port", str(gateway.port))
        assert told.of("port")[:2] == ("ok", f"a gateway is running at {gateway.port}")


def test_a_file_in_the_way_of_the_app_dir(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = Told(tmp_path, {})
    done = doctor("--app-dir", str(tmp_path / "file" / "data"), "--json")
    assert told.of("app dir")[0] == "ok"
    assert done.returncode == 2
    assert "is not a directory" in done.stdout


def test_a_database_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "hermod.db").write_bytes(b"something else entirely" * 100)
    grade, text, _ = Told(tmp_path, {}).of("store")
    assert (grade, "cannot read the database" in text) == ("error", True)


def test_the_store_is_looked_at_and_left_as_it_is(place: Place, tmp_path: Path) -> None:
    """While a gateway uses it, and after that one has left."""
    app_dir, url = place.home("gateway")
    flags = ("--database", url)
    with place.start("gateway", {}) as gateway:
        assert gateway.url
        assert re.search(r"schema \d+\b", Told(tmp_path, {}, *flags).of("store")[1])
        gateway.send(signal.SIGTERM)
        gateway.wait_exit()
    before = sorted(each.name for each in app_dir.iterdir())
    assert re.search(r"schema \d+\b", Told(tmp_path, {}, *flags).of("store")[1])
    assert sorted(each.name for each in app_dir.iterdir()) == before


def test_a_database_of_a_newer_release_is_refused(place: Place, tmp_path: Path) -> None:
    _, url = place.home("gateway")
    with place.start("gateway", {}) as gateway:
        assert gateway.url
    if url.startswith("sqlite:"):
        place.change("PRAGMA user_version = 9000")
    else:
        place.change("UPDATE meta SET value = '9000' WHERE name = 'schema'")
    place.change("UPDATE meta SET value = '9000' WHERE name = 'readable_from'")
    grade, text, _ = Told(tmp_path, {}, "--database", url).of("store")
    assert (grade, "was written by a newer Hermod" in text) == ("error", True)


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    url = "postgresql://me:secret-of-mine@127.0.0.1:1/jobs"
    grade, text, _ = Told(tmp_path, {}, "--database", url).of("store")
    assert (grade, "cannot be reached" in text) == ("error", True)
    assert "secret-of-mine" not in text


def test_for_people_it_is_marks_and_sentences(tmp_path: Path, pages: Pages) -> None:
    config = {"providers": {"openai": at(pages.url), "groq": at("http://no-such-host.invalid")}}
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    done = doctor("--app-dir", str(tmp_path), "--port", "0")
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "  ✓ openai key-1" in done.stdout
    assert "  ✗ groq key-1" in done.stdout
    assert "→ correct providers.groq.network_config.base_url" in done.stdout
    assert done.stdout.splitlines()[-1].endswith("1 wrong")


def test_a_terminal_without_marks_gets_words(tmp_path: Path) -> None:
    done = doctor("--app-dir", str(tmp_path), "--port", "0", environ={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1
    assert done.stdout.isascii()
    assert "  ok app dir" in done.stdout
