"""What is known about a provider: its row in the table, and how the operator configured it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple


class Secret:
    """A text that never shows itself: not in a log, not in a traceback, not in a repr.

    Not a dataclass, so that `dataclasses.asdict` of what holds it does not open it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself, for the one place that sends or compares it."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)" if self._value else "Secret()"


NO_SECRET: Final = Secret()
HEADER_PROVIDED: Final = "header-provided"
"""Id and name of a key that its caller has sent along."""


class Auth(StrEnum):
    """How a request proves that it may be made."""

    BEARER = "bearer"
    """`Authorization: Bearer`, with the key."""
    X_API_KEY = "x-api-key"
    X_GOOG_API_KEY = "x-goog-api-key"
    API_KEY = "api-key"
    XI_API_KEY = "xi-api-key"
    AZURE = "azure"
    """`api-key`, or a token of Entra ID when the key has none."""
    AWS = "aws"
    """A bearer token when the key is one, otherwise a signature (SigV4)."""
    GOOGLE = "google"
    """`x-goog-api-key` when the key is one, otherwise a token for a service account."""


@dataclass(frozen=True, slots=True)
class Row:
    """An upstream, as `providers/providers.toml` describes it."""

    name: str
    base_url: str
    """The provider's root, without `/v1`: each path below is appended to it. Where the key says
    where it lives, `{region}` stands for that; empty when the operator must give the address."""
    key_env: tuple[str, ...]
    """Environment variables that may hold a key; the first one that is set counts."""
    url_env: tuple[str, ...]
    """Environment variables that may hold the address."""
    keyless: bool
    """Works without a key; one is sent when there is one."""
    paths: Mapping[str, str]
    """Path by request type. A type that is absent is one the provider does not offer. `{model}`
    stands for the model's name, escaped."""
    stream_paths: Mapping[str, str] = field(default_factory=dict[str, str])
    """Paths of streams, where they differ."""
    dialect: str = "openai"
    """Whose wire format it speaks."""
    dialects: Mapping[str, str] = field(default_factory=dict[str, str])
    """The same by request type, where one differs."""
    auth: Auth = Auth.BEARER
    drops: frozenset[str] = frozenset()
    """OpenAI's fields that change nothing in the answer and that this upstream refuses."""
    renames: Mapping[str, str] = field(default_factory=dict[str, str])
    """OpenAI's fields that have another name here; `a.b` is the member `b` of a chat's `a`."""
    roles: Mapping[str, str] = field(default_factory=dict[str, str])
    """Roles of messages that this upstream refuses, and what it calls them."""
    models_path: str = "/v1/models"
    """Where it lists its models; empty when it has no list."""

    def dialect_of(self, request_type: str) -> str:
        """The wire format of requests of this type."""
        return self.dialects.get(request_type, self.dialect)


@dataclass(frozen=True, slots=True)
class AzureKey:
    """`azure_key_config`"""

    endpoint: str | None = None
    """The resource's address, without a slash at its end."""
    api_version: str | None = None
    client_id: str | None = None
    client_secret: Secret = NO_SECRET
    tenant_id: str | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BedrockKey:
    """`bedrock_key_config`"""

    access_key: Secret = NO_SECRET
    secret_key: Secret = NO_SECRET
    session_token: Secret = NO_SECRET
    region: str | None = None
    arn: str | None = None
    """Of an inference profile's account and region, without the model's name."""
    role_arn: str | None = None
    external_id: str | None = None
    role_session_name: str | None = None


@dataclass(frozen=True, slots=True)
class VertexKey:
    """`vertex_key_config`"""

    project_id: str | None = None
    project_number: str | None = None
    region: str | None = None
    auth_credentials: Secret = NO_SECRET
    """A service account's JSON; empty for the machine's own account."""


@dataclass(frozen=True, slots=True)
class KeySettings:
    """One credential of a provider (wire-contract 8.6)."""

    name: str
    id: str
    value: Secret
    models: frozenset[str] = frozenset()
    """Models the key may be used for; empty means all (design.md 8, 27)."""
    blacklisted_models: frozenset[str] = frozenset()
    """Models it may not be used for, whatever `models` says; `*` is all."""
    weight: float = 1.0
    enabled: bool = True
    concurrency: int | None = None
    """Calls in flight at once with this key, per process; None: as many as the provider takes."""
    base_url: str | None = None
    """The address this key belongs to, when it is not the provider's (vLLM, Ollama, SGLang)."""
    aliases: Mapping[str, str] = field(default_factory=dict[str, str])
    """What a model is called here: deployments, inference profiles, versions."""
    azure: AzureKey | None = None
    bedrock: BedrockKey | None = None
    vertex: VertexKey | None = None

    def allows(self, model: str) -> bool:
        """Whether the key may be used for this model. Refusing wins over allowing."""
        if self.blacklisted_models and not self.blacklisted_models.isdisjoint({model, "*"}):
            return False
        return not self.models or model in self.models

    @property
    def usable(self) -> bool:
        """Whether there is anything to call with."""
        own = self.azure or self.bedrock or self.vertex
        return self.enabled and bool(self.value or self.base_url or own)


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """The way out that the operator asked for."""

    type: str
    """`http`, `socks5` or `environment`."""
    url: Secret
    username: Secret
    password: Secret


@dataclass(frozen=True, slots=True)
class CustomSettings:
    """`custom_provider_config`: a provider of the operator's own, on the shape of a known one."""

    base_provider_type: str
    keyless: bool
    allowed_requests: frozenset[str] | None
    """Request types that may be called; None means all of them, as in Bifrost."""
    path_overrides: Mapping[str, str]
    """By request type, with `_stream` behind it for streams alone: a path, or a whole URL that
    replaces the address too. `{model}` stands for the model's name."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """A provider that jobs can be sent to, with every default filled in."""

    name: str
    """The model prefix, and the lane."""
    origin: str
    """Where it was configured: an environment variable's name, or the file's name."""
    row: Row
    base_url: str
    keys: tuple[KeySettings, ...]
    attempt_timeout_s: float
    max_retries: int
    retry_backoff_initial_ms: int
    retry_backoff_max_ms: int
    concurrency: int
    """Calls in flight at once, per process."""
    extra_headers: tuple[tuple[str, Secret], ...] = ()
    send_back_raw_request: bool = False
    send_back_raw_response: bool = False
    insecure_skip_verify: bool = False
    ca_cert_pem: str | None = None
    proxy: ProxySettings | None = None
    custom: CustomSettings | None = None
    public_only: bool = False
    """Whether it may be called at public addresses only: so is what was made over the API, unless
    an admin allowed otherwise (`allow_private_network`)."""

    def ways_out(self) -> frozenset[str]:
        """Where calls may go beside the table's own address, and what makes that less safe."""
        told = {self.base_url, *(key.base_url or "" for key in self.keys)}
        if self.custom is not None:
            told |= {path for path in self.custom.path_overrides.values() if "://" in path}
        found = told - {self.row.base_url, ""}
        if found and not self.public_only:
            found.add("allow_private_network")
        if self.insecure_skip_verify:
            found.add("insecure_skip_verify")
        if self.ca_cert_pem:
            found.add("ca_cert_pem")
        return frozenset(found)

    @property
    def keyless(self) -> bool:
        """Whether a call may go out without a key."""
        return self.row.keyless or (self.custom is not None and self.custom.keyless)


class ProviderRead(NamedTuple):
    """What came of reading one provider's JSON object."""

    settings: ProviderSettings | None
    """None where there are problems."""
    problems: tuple[str, ...] = ()
    """Each with its place; none of them repeats a secret."""
    warnings: tuple[str, ...] = ()


ReadProvider = Callable[[str, Mapping[str, object]], ProviderRead]
"""Reads what was given over the API for a provider of that name, by the config file's rules."""
