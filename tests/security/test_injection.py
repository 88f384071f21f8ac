"""Texts that other programs obey, in every place that takes a text (reliability.md S9): stored and
shown as they are, sent on without effect, logged as one line.

The log is judged when the gateway ends (conftest.py).
"""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import h11
import httpx
import pytest

from tests.security.conftest import CONTROL, assert_log_is_clean, custom
from tests.support.entrances import Entrance, entrances, message_of
from tests.support.program import Gateway, chat, client, submit, wait_done
from tests.support.upstream import Reply, Upstream
from tests.support.waiting import wait_until
from tests.support.wire import AUDIO, TRANSCRIBING, File

NASTY: Final = {
    "CRLF": "a\r\nx-evil: 1\r\n\r\nGET /evil HTTP/1.1\r\n",
    "CR": "a\rb",
    "LF": "a\n2026-11-21 00:00:00,000 INFO hermod: forged",
    "U+2028": "a\u2028b\u2029c",
    "NEL": "a\x85b",
    "ANSI": "\x1b[2J\x1b]0;evil\x07\x1b[31mred",
    "C1": "\x9b31mred",
    "DEL and backspace": "a\x7f\x08\x08b",
    "four bytes": "🐴\U0010ffff",
    "right to left": "\u202egnp.exe",
    "byte order mark": "\ufeffa",
    "script": '<script>alert("1")</script><img src=x onerror=alert(1)>',
    "SQL": "'; DROP TABLE job; --",
    "SQL too": '" OR 1=1 UNION SELECT * FROM job -- \\',
    "SQL wildcards": "%_*?$1:name@p",
    "format": "%s%n {0} {job_id!r} ${jndi:ldap://x} `id` $(id)",
    "path": "../../../../etc/passwd",
    "event stream": "a\n\nevent: error\ndata: {}\n\n",
    "JSON": '","admin":true,"x":"',
    "header": "a; boundary=b, c",
}
NUL: Final = "a\0b"
ENTRANCES: Final = entrances()
ONE_OF_EACH: Final = tuple(
    each
    for each in ENTRANCES
    if each.name
    in {"call chat/completions", "job responses", "openai embeddings", "anthropic", "background"}
)


def number_of(text: str) -> int:
    """Which one it is: names of models are known to the upstream's plans."""
    return list(NASTY.values()).index(text)


every_text = pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)


def run(http: httpx.Client, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """A chat as a job, and it ended so."""
    response = http.post("/v1/async/chat/completions", json=body, headers=headers)
    assert response.status_code == 202, response.text
    return wait_done(http, response.json()["id"])


def only_message(response: httpx.Response) -> str:
    """Of an error that is nothing but JSON to a browser."""
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "x-evil" not in response.headers
    return message_of(response)


# Models


@every_text
def test_a_model_is_sent_and_shown_as_it_was_written(
    text: str, http: httpx.Client, upstream: Upstream
) -> None:
    job = run(http, chat(model=f"here/{text}"))
    assert job["status"] == "completed"
    call = upstream.the_call(text)
    assert json.loads(call.body)["model"] == text
    assert call.path == "/v1/chat/completions"
    assert "x-evil" not in call.headers
    assert job["result"]["extra_fields"]["model_requested"] == text


@every_text
@pytest.mark.parametrize("entrance", ONE_OF_EACH, ids=lambda each: each.name.replace(" ", ":"))
def test_an_unknown_model_is_an_error_and_no_command(
    entrance: Entrance, text: str, http: httpx.Client
) -> None:
    response = entrance.ask(http, entrance.changed(model=f"mock/{text}"))
    if entrance.name.startswith(("job", "background")):
        assert response.status_code in (200, 202)
        assert response.json()["id"]
    else:
        assert response.status_code == 404
        assert only_message(response)


@every_text
def test_a_model_in_a_path_is_refused_or_unknown(text: str, http: httpx.Client) -> None:
    for path in ("/genai/v1beta/models/mock/{}:generateContent", "/genai/v1beta/models/{}:{}"):
        place = path.format(quote(text), quote(text))
        response = http.post(place, json={"contents": [{"parts": [{"text": "hi"}]}]})
        assert response.status_code in (400, 404)
        assert only_message(response)


@pytest.mark.parametrize("entrance", ENTRANCES, ids=lambda each: each.name.replace(" ", ":"))
def test_a_model_with_a_nul_is_refused(entrance: Entrance, http: httpx.Client) -> None:
    if entrance.is_form:
        body = entrance.body.replace(b"mock/hello", b"mock/" + NUL.encode())
    elif ":" in entrance.path:
        entrance = entrance._replace(path=entrance.path.replace("hello", "%00"))
        body = entrance.body
    else:
        body = entrance.changed(model=f"mock/{NUL}")
    response = entrance.ask(http, body)
    assert response.status_code == 400
    assert only_message(response)


# What is in a body


@every_text
def test_labels_and_texts_reach_the_upstream_as_they_are(
    text: str, http: httpx.Client, upstream: Upstream
) -> None:
    model = f"texts-{number_of(text)}"
    body = chat(text, f"here/{model}", metadata={text: text}, user=text, stop=[text])
    assert run(http, body)["status"] == "completed"
    assert json.loads(upstream.the_call(model).body) == body | {"model": model}


@every_text
def test_a_stream_of_events_cannot_be_broken_out_of(text: str, http: httpx.Client) -> None:
    streams = {
        "/v1/chat/completions": lambda each: each["choices"][0]["delta"].get("content", ""),
        "/openai/v1/chat/completions": lambda each: each["choices"][0]["delta"].get("content", ""),
        "/anthropic/v1/messages": lambda each: each.get("delta", {}).get("text", ""),
    }
    for path, said in streams.items():
        response = http.post(path, json=chat(text, max_tokens=9, stream=True))
        assert response.status_code == 200
        datas = [
            line.removeprefix(b"data: ")
            for line in response.content.split(b"\n")
            if line.startswith(b"data: ")
        ]
        events = [json.loads(data) for data in datas if data != b"[DONE]"]
        assert "".join(said(each) or "" for each in events if each.get("choices") != []) == text
        names = {line for line in response.content.split(b"\n") if line.startswith(b"event: ")}
        assert b"event: error" not in names


# Forms

FILE_NAMES: Final = {
    name: text for name, text in NASTY.items() if name not in {"CRLF", "CR", "LF", "event stream"}
}


@pytest.mark.parametrize("text", FILE_NAMES.values(), ids=FILE_NAMES)
@pytest.mark.parametrize("model", ["mock/echo", "openai/echo"])
def test_a_file_name_is_only_a_name(text: str, model: str, http: httpx.Client) -> None:
    file = AUDIO._replace(filename=text)
    response = http.post("/v1/audio/transcriptions", **TRANSCRIBING.request(model, files=[file]))
    if response.status_code == 400:
        assert only_message(response).startswith("failed to parse multipart form: ")
    else:
        assert response.status_code == 200, response.text
        told = response.json()["text"]
        assert f"{len(AUDIO.content)} bytes" in told
        assert told.count("sha256") == 1


@pytest.mark.parametrize("model", ["mock/echo", "openai/echo"])
@pytest.mark.parametrize(
    "filename",
    [
        b'a"; filename="b',
        b'a\\"b',
        b"a%22%0d%0aX: y",
        b"a\r\nContent-Type: text/html\r\n\r\nevil",
        b"a\rb",
        b"a\nb",
        b"a\0b",
        b"\xff\xfe",
        b"=?utf-8?q?a?=",
    ],
)
def test_a_file_name_as_it_is_written_adds_no_part(
    filename: bytes, model: str, http: httpx.Client
) -> None:
    body, content_type = TRANSCRIBING.encoded(model, files=[File("file", "NAME", b"RIFF", "a/b")])
    response = http.post(
        "/v1/audio/transcriptions",
        content=body.replace(b"NAME", filename),
        headers={"content-type": content_type},
    )
    assert response.status_code in (200, 400), response.text
    if response.status_code == 200:
        assert response.json()["text"].count("sha256") == 1


@every_text
def test_text_fields_of_a_form_reach_the_upstream_as_they_are(
    text: str, http: httpx.Client
) -> None:
    for model in ("mock/echo", "openai/echo"):
        request = TRANSCRIBING.request(model, prompt=text, language=text)
        response = http.post("/v1/audio/transcriptions", **request)
        assert response.status_code == 200, response.text
        assert response.json()["text"].startswith(text)


# Headers


def said(gateway: Gateway, request: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers and body of the only response, read by another's parser."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(request)
        parser = h11.Connection(h11.CLIENT)
        parser.send(h11.Request(method="POST", target="/", headers=[("host", "a")]))
        parser.send(h11.EndOfMessage())
        status, headers, body = 0, dict[bytes, bytes](), b""
        while True:
            event = parser.next_event()
            if event is h11.NEED_DATA:
                parser.receive_data(connection.recv(65536))
            elif isinstance(event, h11.Response):
                status, headers = event.status_code, dict(event.headers)
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return status, headers, body


HEADERS: Final = (
    "x-request-id",
    "x-bf-async-job-result-ttl",
    "x-bf-api-key",
    "x-bf-api-key-id",
    "x-bf-session-id",
    "x-bf-session-ttl",
    "x-bf-parent-request-id",
    "x-bf-passthrough-extra-params",
    "x-bf-send-back-raw-request",
    "x-bf-async",
    "x-bf-async-webhook",
    "x-bf-lh-label",
    "x-bf-dim-label",
    "x-bf-eh-label",
    "x-bf-prom-label",
    "x-hermod-on-unknown",
    "x-tenant",
    "traceparent",
    "baggage",
    "accept",
    "user-agent",
    "content-type",
    "content-encoding",
    "origin",
    "authorization",
    "x-bf-vk",
)


def sendable(text: str) -> bytes:
    """What of a text may stand in a header at all."""
    return bytes(each for each in text.encode() if each >= 0x20 and each != 0x7F)


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_value_is_only_a_value(name: str, gateway: Gateway, http: httpx.Client) -> None:
    for number, text in enumerate(NASTY.values()):
        entrance = ONE_OF_EACH[number % len(ONE_OF_EACH)]
        line = name.encode() + b": " + sendable(text)
        status, headers, body = said(gateway, entrance.raw(None, line))
        assert status < 500 or b"no supported key found" in body, (entrance, text, body)
        assert b"x-evil" not in headers
        whole = json.loads(body)
        if status == 202:
            job = wait_done(http, whole["id"], entrance.path.removeprefix("/v1/async/"))
            assert job["status"] in ("completed", "failed")


@pytest.mark.parametrize("spoiled", [b"a\0b", b"a\rb", b"a\nb", b"a\x1b[31m", b"a\x7f", b"a\x01"])
def test_a_header_with_a_control_character_is_refused(spoiled: bytes, gateway: Gateway) -> None:
    for entrance in ONE_OF_EACH:
        for name in (b"x-request-id", b"x-bf-eh-label", b"x-bf-async-id"):
            status, _, body = said(gateway, entrance.raw(None, name + b": " + spoiled))
            assert status == 400, (entrance, name)
            assert json.loads(body)["error"]["message"]


@every_text
def test_a_forwarded_header_arrives_as_one_line(
    text: str, gateway: Gateway, http: httpx.Client, upstream: Upstream
) -> None:
    model = f"forward-{number_of(text)}"
    entrance = next(each for each in ENTRANCES if each.name == "call chat/completions")
    value = sendable(text)
    body = entrance.changed(model=f"here/{model}")
    status, _, _ = said(gateway, entrance.raw(body, b"x-bf-eh-label: " + value))
    assert status == 200
    headers = upstream.the_call(model).headers
    assert headers["label"].encode("latin-1") == value.strip()
    assert "x-evil" not in headers


@pytest.mark.parametrize(
    "name", ["host", "content-length", "transfer-encoding", "connection", "cookie", "authorization"]
)
def test_no_forwarded_header_reframes_a_request(
    name: str, http: httpx.Client, upstream: Upstream
) -> None:
    model = f"reframe-{name}"
    headers = {f"x-bf-eh-{name}": "0", f"X-BF-EH-{name.upper()}": "chunked"}
    assert run(http, chat(model=f"here/{model}"), **headers)["status"] == "completed"
    sent = upstream.the_call(model).headers
    assert sent.get(name) not in {"0", "chunked"}


# Ids


@pytest.mark.parametrize("text", [*NASTY.values(), NUL], ids=[*NASTY, "NUL"])
def test_an_id_is_looked_up_and_nothing_else(
    text: str, gateway: Gateway, http: httpx.Client
) -> None:
    for path in (
        "/v1/async/chat/completions/",
        "/v1/responses/",
        "/openai/v1/responses/",
        "/v1/models/",
        "/docs/",
    ):
        response = http.get(path + quote(text, safe=""))
        assert response.status_code in (400, 404), path
        assert only_message(response)
    for entrance in ONE_OF_EACH:
        if entrance.path.startswith(("/openai/v1/chat", "/anthropic")):
            line = b"x-bf-async-id: " + sendable(text)
            status, headers, _ = said(gateway, entrance.raw(None, line))
            assert status == 404
            assert b"x-evil" not in headers


# What upstreams say


@every_text
def test_an_upstreams_error_is_told_as_it_is(
    text: str, http: httpx.Client, upstream: Upstream
) -> None:
    model = f"error-{number_of(text)}"
    said = {"error": {"message": text, "type": text, "code": text, "param": text}}
    headers = {"x-evil": "1", "set-cookie": "a=b", "server": "evil"}
    reply = Reply(status=422, body=json.dumps(said).encode(), headers=headers)
    upstream.plan(model, reply)
    job = run(http, chat(model=f"here/{model}"))
    assert job["error"]["error"]["message"] == text
    for path in ("/v1/chat/completions", "/openai/chat/completions"):
        response = http.post(path, json=chat(model=f"here/{model}"))
        assert response.status_code == 422
        assert only_message(response) == text
        assert not response.headers.keys() & headers.keys()


def test_an_upstreams_content_type_is_a_value_and_never_a_page(
    http: httpx.Client, upstream: Upstream
) -> None:
    for number, content_type in enumerate(("text/html", "image/svg+xml", "audio/mpeg; a=\xe9\x9b")):
        model = f"typed-{number}"
        upstream.plan(model, Reply(body=b"<script>alert(1)</script>", content_type=content_type))
        response = http.post("/v1/chat/completions", json=chat(model=f"here/{model}"))
        assert response.headers["content-type"] == "application/json"
        assert response.headers["x-content-type-options"] == "nosniff"


@contextmanager
def upstream_that_says(raw: bytes) -> Iterator[str]:
    """A server that answers every connection with these bytes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65536)
                connection.sendall(raw)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_an_upstream_that_speaks_no_http_is_logged_in_lines(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    replies = [
        f"HTTP/1.1 200 {text}\r\n{text}: {text}\r\n\r\n{text}".encode() for text in NASTY.values()
    ]
    with upstream_that_says(b"\x1b[31m\n".join(replies)) as url:
        provider = custom(url)
        provider["custom_provider_config"]["allowed_requests"] = {
            "chat_completion": True,
            "list_models": True,
        }
        folder = tmp_path_factory.mktemp("liar") / "data"
        config = {"providers": {"liar": provider}}
        with Gateway(folder, "--log-level", "debug", config=config) as gateway:
            with client(gateway) as http:
                banner = gateway.output
                job_id = submit(http, chat(model="liar/x"))
                assert wait_done(http, job_id)["status"] == "failed"
                assert http.post("/v1/chat/completions", json=chat(model="liar/x")).is_error
                assert http.get("/v1/models").status_code == 200
            wait_until(lambda: "liar" in gateway.output.removeprefix(banner))
            assert_log_is_clean(gateway.output, banner)


def test_names_in_the_configuration_stay_in_their_lines(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    config = {
        **dict.fromkeys(NASTY.values(), 1),
        "client": dict.fromkeys(NASTY.values(), 1),
        "providers": {
            f"x{text}": {"keys": [{"name": text, "value": text}]} for text in NASTY.values()
        },
    }
    with Gateway(tmp_path_factory.mktemp("named") / "data", config=config) as gateway:
        assert gateway.wait_exit() == 1
        lines = gateway.output.split("\n")
        assert len(lines) > len(NASTY)
        assert not [line for line in lines if CONTROL.search(line)]
