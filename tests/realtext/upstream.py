"""The upstream that this project did not write: its environment, its process, and plain calls."""

import hashlib
import json
import re
import subprocess
import venv
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from tests.realtext.kinds import CHATS_ONLY
from tests.realtext.tiny_model import write_tiny_model

_ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = _ROOT / ".cache" / "realtext"
_REQUIREMENTS: Final = _ROOT / "requirements" / "realtext.txt"
API_KEY: Final = "sk-real-text"
MODEL: Final = "tiny-random"


def environment() -> Path:
    """The interpreter that has the server's wheel. Installed once per state of the pins."""
    folder = CACHE / "env"
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = hashlib.sha256(_REQUIREMENTS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text("ascii") == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    install = ("-m", "pip", "--disable-pip-version-check", "--quiet", "install")
    pinned = ("--require-hashes", "--only-binary", ":all:", "-r", str(_REQUIREMENTS))
    subprocess.run([python, *install, *pinned], check=True)
    stamp.write_text(wanted, "ascii")
    return python


class Upstream:
    """The running server."""

    def __init__(self, python: Path, folder: Path) -> None:
        model = folder / "tiny-random.gguf"
        write_tiny_model(model)
        self._log = (folder / "upstream.log").open("wb")
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("llama_server.py")), str(model), API_KEY],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.startswith("{"):
            raise RuntimeError(f"the upstream did not start: see {self._log.name}")
        about = json.loads(line)
        self.url: str = about["address"]
        self.name = f"llama.cpp's server in xllamacpp {about['version']}"
        self._http = httpx.Client(
            base_url=self.url,
            headers={"Authorization": f"Bearer {API_KEY}"},
            timeout=300.0,
            trust_env=False,
        )

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A call without a gateway between. Raises httpx.HTTPStatusError."""
        response = self._http.post(path, json={**body, "model": MODEL})
        response.raise_for_status()
        return response.json()

    def tokens(self) -> tuple[int, int]:
        """Tokens it has read and said since it began, by its own counters: six digits of each."""
        text = self._http.get("/metrics").raise_for_status().text
        read, said = (
            re.search(rf"^llamacpp:{name}_total (\S+)$", text, re.MULTILINE)
            for name in ("prompt_tokens", "tokens_predicted")
        )
        assert read is not None
        assert said is not None
        return round(float(read[1])), round(float(said[1]))

    def providers(self) -> dict[str, Any]:
        """The providers of config.json: one of our own, and one that offers nothing but chats."""
        known = {
            "keys": [{"name": "main", "value": API_KEY, "weight": 1}],
            "network_config": {"base_url": self.url},
            "concurrency_and_buffer_size": {"concurrency": 16},
        }
        custom = {"custom_provider_config": {"base_provider_type": "openai"}}
        return {"llama": known | custom, CHATS_ONLY: known}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._log.close()
