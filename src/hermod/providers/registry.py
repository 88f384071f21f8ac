"""Which providers there are, and where their requests go."""

import re
import tomllib
from collections.abc import Mapping
from importlib import resources
from types import MappingProxyType
from typing import Final, cast
from urllib.parse import quote

from hermod.domain.provider import Auth, CustomSettings, KeySettings, ProviderSettings, Row
from hermod.kinds.registry import KIND_BY_TYPE
from hermod.providers.adapters import DIALECTS

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

_ROOT: Final = re.compile(r"https?://[a-z0-9.{}-]+(?::\d+)?(?:/[a-z0-9._-]+)*(?<!/v1)|")
_PATH: Final = re.compile(r"(?:/(?:[A-Za-z0-9._:-]|\{model\})+)+(?:\?[A-Za-z0-9=&-]+)?")
_AWS_REGION: Final = "us-east-1"
_EVERYWHERE: Final = "global"
_SEVERAL: Final = frozenset({"us", "eu"})
_VARIABLE: Final = re.compile(r"[A-Z][A-Z0-9_]+")
_FIELDS: Final = frozenset(
    [
        "base_url",
        "key_env",
        "url_env",
        "keyless",
        "paths",
        "stream_paths",
        "dialect",
        "dialects",
        "auth",
        "drops",
        "renames",
        "roles",
        "models_path",
    ]
)


def load_rows() -> Mapping[str, Row]:
    """The rows of `providers.toml` by name. The caller keeps them; each call reads the file.

    Raises:
        ValueError: the table is wrong; names the row.
    """
    text = resources.files("hermod.providers").joinpath("providers.toml").read_text("utf-8")
    return parse_rows(text)


def parse_rows(text: str) -> Mapping[str, Row]:
    """The rows of a table in the form of `providers.toml`.

    Raises:
        ValueError: the table is wrong; names the row.
    """
    tables = tomllib.loads(text)
    return MappingProxyType({name: _row(name, table) for name, table in tables.items()})


def _row(name: str, table: object) -> Row:
    members = cast("dict[str, object]", table) if isinstance(table, dict) else {}
    auth = str(members.get("auth", Auth.BEARER))
    row = Row(
        name=name,
        base_url=str(members.get("base_url")),
        key_env=_words(members.get("key_env")),
        url_env=_words(members.get("url_env", [])),
        keyless=members.get("keyless", False) is True,
        paths=_texts(members.get("paths")),
        stream_paths=_texts(members.get("stream_paths")),
        dialect=str(members.get("dialect", "openai")),
        dialects=_texts(members.get("dialects")),
        auth=Auth(auth) if auth in set(Auth) else Auth.BEARER,
        drops=frozenset(_words(members.get("drops", []))),
        renames=_texts(members.get("renames")),
        roles=_texts(members.get("roles")),
        models_path=str(members.get("models_path", "/v1/models")),
    )
    types = KIND_BY_TYPE.keys()
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
        and row.paths.keys() <= types
        and row.stream_paths.keys() <= row.paths.keys()
        and all(
            _PATH.fullmatch(path) for path in (*row.paths.values(), *row.stream_paths.values())
        ),
        "dialect, dialects: unknown": {row.dialect, *row.dialects.values()} <= DIALECTS.keys()
        and row.dialects.keys() <= row.paths.keys(),
        "auth: unknown": auth in set(Auth),
        "models_path: expected a path": row.models_path == "" or _PATH.fullmatch(row.models_path),
    }
    for rule, kept in checks.items():
        if not kept:
            raise ValueError(f"providers table, {name}: {rule}")
    return row


def _texts(value: object) -> Mapping[str, str]:
    members = cast("dict[str, object]", value) if isinstance(value, dict) else {}
    return MappingProxyType({name: str(text) for name, text in members.items()})


def _words(value: object) -> tuple[str, ...]:
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    return tuple(str(item) for item in items)


def models_url(provider: ProviderSettings, key: KeySettings | None = None) -> str | None:
    """Where a provider lists its models; None when it has no list or its address is not known."""
    root = root_of(provider, key)
    path = provider.row.models_path
    return root + path if root and path else None


def endpoint(
    provider: ProviderSettings,
    request_type: str,
    key: KeySettings | None = None,
    *,
    model: str = "",
    path: str | None = None,
    stream: bool = False,
) -> str | None:
    """The URL a request of this type goes to, None when there is no path for it. Whether it may
    go there, `way_of` says.

    The address is the provider's root, so a `/v1` at its end is not doubled (design.md 3.4). A key
    with an address of its own brings it along. `path` is a dialect's own, instead of the table's;
    `{model}` in it stands for the model's name.
    """
    custom = provider.custom
    override = _override(custom, request_type, stream) if custom else None
    if override is None:
        row = provider.row
        if path is None and stream:
            path = row.stream_paths.get(request_type)
        found = path or row.paths.get(request_type)
        if found is None:
            return None
        return root_of(provider, key) + _with_model(found, model)
    override = _with_model(override, model)
    if "://" in override:
        return override
    # An override is appended to what was written, unless both name the version.
    if override.startswith("/v1/"):
        return root_of(provider, key) + override
    return ((key.base_url if key else None) or provider.base_url).rstrip("/") + override


def climbs(url: str) -> bool:
    """Whether some reader on the way would take a part of the path for a step up or for none
    (RFC 3986, 5.2.4), and so find another address behind it."""
    if "/." not in url:
        return False
    return not {".", ".."}.isdisjoint(url.partition("?")[0].split("/"))


def _override(custom: CustomSettings, request_type: str, stream: bool) -> str | None:
    """The operator's own path; streams may have one of theirs."""
    paths = custom.path_overrides
    return (paths.get(f"{request_type}_stream") if stream else None) or paths.get(request_type)


def _with_model(path: str, model: str) -> str:
    return path.replace("{model}", quote(model, safe="")) if "{" in path else path


def root_of(provider: ProviderSettings, key: KeySettings | None) -> str:
    """The address that paths are appended to, without a slash at its end."""
    base_url = (key.base_url if key else None) or provider.base_url
    if "{region}-aiplatform." in base_url:
        base_url = _at_google(base_url, (key.vertex.region if key and key.vertex else None))
    if "{" in base_url:
        base_url = base_url.replace("{region}", region_of(key))
    root = base_url.rstrip("/").removesuffix("/v1")
    # Azure shows the addresses of its resources with `/openai/v1` behind them.
    return root if provider.row.base_url else root.removesuffix("/openai")


def _at_google(base_url: str, region: str | None) -> str:
    """What is everywhere has no region in its name, what is in several has it behind."""
    if region in {None, _EVERYWHERE}:
        return base_url.replace("{region}-", "")
    if region in _SEVERAL:
        return base_url.replace("{region}-aiplatform.", f"aiplatform.{region}.rep.")
    return base_url.replace("{region}", str(region))


def region_of(key: KeySettings | None) -> str:
    """Where the key says that its provider lives."""
    if key is not None and key.bedrock is not None:
        return key.bedrock.region or _AWS_REGION
    if key is not None and key.vertex is not None:
        return key.vertex.region or _EVERYWHERE
    return _AWS_REGION
