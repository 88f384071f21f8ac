"""A large upload and a large result survive `kill -9`, on both stores, and hold nobody up."""

import base64
import hashlib
import json
import random
import signal
import threading

from hermod.providers.mock import media as mock_media
from tests.acceptance.conftest import Served
from tests.faults.places import Place, config_for
from tests.support.program import Gateway, MockUpstream, client
from tests.support.wire import (
    BY_TYPE,
    CHATTING,
    PROMPT,
    TRANSCRIBING,
    File,
    Wire,
    completed,
)

MIB = 1024 * 1024
UPLOAD = File("file", "réunion.wav", random.Random(24).randbytes(24 * MIB), "audio/wav")
"""Pseudo-random: nothing between client and upstream can have it by luck, or pack it."""
IMAGE_BYTES = 15 * MIB
"""In base64 20 MiB."""
PAINTING = BY_TYPE["image_generation"]
ACCEPTING_MB = 16.0
"""What a process may grow by that only accepts the upload: it never has it in memory."""
RUNNING_MB = 24.0 * 6
"""What one may grow by that sends it: the body as it is stored, as it is sent, and what the
allocator keeps of them."""


def front(place: Place, upstream: MockUpstream) -> Gateway:
    """A gateway that accepts jobs and leaves them to others."""
    return place.start("front", config_for({"role": "api"}, openai=upstream))


def whole(place: Place, upstream: MockUpstream) -> Gateway:
    """A gateway that runs what there is."""
    return place.start("back", config_for({"upkeep_s": 0.2}, openai=upstream))


def stop(gateway: Gateway) -> None:
    """A clean end."""
    gateway.send(signal.SIGTERM)
    assert gateway.wait_exit() == 0, gateway.output
    assert "Traceback" not in gateway.output


def picture_in(content: bytes) -> bytes:
    """The image of a completed job."""
    (image,) = completed(json.loads(content))["data"]
    return base64.b64decode(image["b64_json"], validate=True)


def test_a_large_upload_survives_a_kill_before_it_runs(
    place: Place, mock_upstream: MockUpstream
) -> None:
    with front(place, mock_upstream) as accepting, client(accepting) as http:
        wire = Wire(http)
        wire.submit(TRANSCRIBING, "openai/echo")
        idle_mb = accepting.rss_mb()
        accepting.forget_peak_rss()
        job = wire.submit(TRANSCRIBING, "openai/echo", files=(UPLOAD,))
        assert accepting.peak_rss_mb() - idle_mb < ACCEPTING_MB
        assert wire.get(TRANSCRIBING, job["id"]).json() == job
        accepting.kill()
    with whole(place, mock_upstream) as running, client(running) as http:
        wire = Wire(http)
        result = completed(wire.ended(TRANSCRIBING, job["id"]))
        assert result["text"] == UPLOAD.told()
        assert place.attempts_of(job["id"]) == [(1, "succeeded", None)]
        # One after the other they need the memory of one.
        for _ in range(2):
            completed(wire.run(TRANSCRIBING, "openai/echo", files=(UPLOAD,)))
        assert running.peak_rss_mb() - idle_mb < RUNNING_MB
        stop(running)


def test_a_large_upload_survives_a_kill_while_it_is_sent(
    place: Place, mock_upstream: MockUpstream
) -> None:
    environ = {"HERMOD_FAILPOINTS": "net.request_sent=kill"}
    ours = {"upkeep_s": 0.2}
    config = config_for(ours, openai=mock_upstream)
    with place.start("front", config, environ=environ) as gateway, client(gateway) as http:
        job_id = Wire(http).submit(TRANSCRIBING, "openai/echo", files=(UPLOAD,))["id"]
        assert gateway.wait_exit() == -signal.SIGKILL
    with place.start("front", config) as gateway, client(gateway) as http:
        result = completed(Wire(http).ended(TRANSCRIBING, job_id))
        assert result["text"] == UPLOAD.told()
        assert place.attempts_of(job_id) == [(1, "unknown", "worker_died"), (2, "succeeded", None)]
        stop(gateway)


def test_a_large_result_survives_kills_before_and_after_its_run(
    place: Place, mock_upstream: MockUpstream
) -> None:
    with front(place, mock_upstream) as accepting, client(accepting) as http:
        job_id = Wire(http).submit(PAINTING, f"openai/image?bytes={IMAGE_BYTES}")["id"]
        accepting.kill()
    with whole(place, mock_upstream) as running, client(running) as http:
        wire = Wire(http)
        wire.ended(PAINTING, job_id)
        first = wire.get(PAINTING, job_id).content
        assert len(first) > 20 * MIB
        expected = hashlib.sha256(mock_media.image(PROMPT, 0, IMAGE_BYTES)).digest()
        assert hashlib.sha256(picture_in(first)).digest() == expected
        running.kill()
    with whole(place, mock_upstream) as running, client(running) as http:
        assert Wire(http).get(PAINTING, job_id).content == first
        stop(running)


def test_large_results_hold_nobody_up(served: Served) -> None:
    """While they are read, jobs are accepted, run and read."""
    wire = served.wire
    job_id = wire.run(PAINTING, f"openai/image?bytes={IMAGE_BYTES}")["id"]
    digests: set[bytes] = set()
    reading = threading.Event()
    beside: list[str] = []

    def read() -> None:
        with client(served.gateway) as own:
            reading.set()
            for _ in range(4):
                digests.add(hashlib.sha256(Wire(own).get(PAINTING, job_id).content).digest())

    reader = threading.Thread(target=read)
    reader.start()
    reading.wait()
    while reader.is_alive():
        beside.append(wire.run(CHATTING, "mock/hello")["status"])
    reader.join()
    assert len(digests) == 1
    assert set(beside) == {"completed"}


def test_large_speech_comes_back_whole_to_a_caller_who_waits(served: Served) -> None:
    speech = BY_TYPE["speech"].request(f"openai/speech?bytes={IMAGE_BYTES}")
    expected = mock_media.audio(PROMPT, "mp3", IMAGE_BYTES)
    response = served.http.post("/v1/audio/speech", **speech)
    assert hashlib.sha256(response.content).digest() == hashlib.sha256(expected).digest()
