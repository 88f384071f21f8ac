"""Which providers there are, and where their requests go."""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final, cast

from hermod.domain.provider import KeySettings, ProviderSettings, Row
from hermod.kinds.registry import KIND_BY_TYPE

MOCK: Final = "mock"
"""The provider inside this process; it is no row."""

KNOWN_PROVIDERS: Final = frozenset(
    (
        # Bifrost's (wire-contract 8.2), April 2026 ...
        "anthropic azure bedrock cerebras cohere elevenlabs fireworks gemini groq huggingface "
        "mistral nebius ollama openai openrouter parasail perplexity replicate runway sgl vertex "
        "vllm xai "
        # ... and later.
        "bedrock_mantle deepgram deepseek gigachat opencode-go opencode-zen runware sarvam wafer "
        # Ours.
        f"together {MOCK}"
    ).split()
)
"""Every prefix that makes `prefix/model` a model, beside the operator's own."""

_ROOT: Final = re.compile(r"https?://[a-z0-9.-]+(?::\d+)?(?:/[a-z0-9._-]+)*(?<!/v1)")
_PATH: Final = re.compile(r"(?:/[a-z0-9._-]+)+")
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]+")
_FIELDS: Final = frozenset({"base_url", "key_env", "url_env", "keyless", "paths"})


def load_rows() -> Mapping[str, Row]:
    """The rows of `compatible.toml` by name. The caller keeps them; each call reads the file.

    Raises:
        ValueError: the table is wrong; names the row.
    """
    text = resources.files("hermod.providers").joinpath("compatible.toml").read_text("utf-8")
    return parse_rows(text)


def parse_rows(text: str) -> Mapping[str, Row]:
    """The rows of a table in the form of `compatible.toml`.

    Raises:
        ValueError: the table is wrong; names the row.
    """
    tables = tomllib.loads(text)
    return MappingProxyType({name: _row(name, table) for name, table in tables.items()})


def _row(name: str, table: object) -> Row:
    members = cast("dict[str, object]", table) if isinstance(table, dict) else {}
    paths = members.get("paths")
    row = Row(
        name=name,
        base_url=str(members.get("base_url")),
        key_env=_words(members.get("key_env")),
        url_env=_words(members.get("url_env", [])),
        keyless=members.get("keyless", False) is True,
        paths=MappingProxyType(cast("dict[str, str]", paths) if isinstance(paths, dict) else {}),
    )
    checks = {
        "unknown name, add it to KNOWN_PROVIDERS": name in KNOWN_PROVIDERS,
        "unknown or missing fields": members.keys() <= _FIELDS,
        "base_url: expected a root without /v1": _ROOT.fullmatch(row.base_url),
        "key_env, url_env: expected names of variables": all(
            _VARIABLE.fullmatch(word) for word in (*row.key_env, *row.url_env)
        ),
        "key_env: a provider that needs a key needs a name": row.keyless or row.key_env,
        "keyless: expected true or false": isinstance(members.get("keyless", False), bool),
        "paths: expected /paths by request type": row.paths
        and row.paths.keys() <= KIND_BY_TYPE.keys()
        and all(_PATH.fullmatch(str(path)) for path in row.paths.values()),
    }
    for rule, kept in checks.items():
        if not kept:
            raise ValueError(f"providers table, {name}: {rule}")
    return row


def _words(value: object) -> tuple[str, ...]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return tuple(str(item) for item in items)


def models_url(provider: ProviderSettings, key: KeySettings | None = None) -> str:
    """Where a provider of this shape lists its models."""
    base_url = (key.base_url if key else None) or provider.base_url
    return base_url.rstrip("/").removesuffix("/v1") + "/v1/models"


def endpoint(
    provider: ProviderSettings, request_type: str, key: KeySettings | None = None
) -> str | None:
    """The URL a request of this type goes to, None when the provider does not offer the type.

    The address is the provider's root, so a `/v1` at its end is not doubled (design.md 3.4). A key
    with an address of its own brings it along. The model is never part of the URL here.
    """
    custom = provider.custom
    allowed = custom.allowed_requests if custom else None
    if allowed is not None and request_type not in allowed:
        return None
    base_url = (key.base_url if key else None) or provider.base_url
    root = base_url.rstrip("/").removesuffix("/v1")
    override = custom.path_overrides.get(request_type) if custom else None
    if override is None:
        path = provider.row.paths.get(request_type)
        return None if path is None else root + path
    if "://" in override:
        return override
    # An override is appended to what was written, unless both name the version.
    return (root if override.startswith("/v1/") else base_url.rstrip("/")) + override
