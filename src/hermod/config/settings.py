"""Everything that can be set, typed and frozen."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from hermod.domain.forwarding import HeaderFilter
from hermod.domain.governance import Entity
from hermod.domain.jwt import TOKEN_LIFE_S, JwtIssuer, JwtSettings
from hermod.domain.price import OwnPrice
from hermod.domain.provider import NO_SECRET, ProviderSettings, Secret


@dataclass(frozen=True, slots=True)
class CompatSettings:
    """`client.compat`: what may be changed so that a request fits its upstream."""

    convert_text_to_chat: bool = False
    """Text completions go to a chat model where the provider offers no other."""
    convert_chat_to_responses: bool = False
    """Chat completions go out as responses where the provider offers nothing else."""
    should_drop_params: bool = False
    """Fields that an upstream cannot take are left out instead of refused."""


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """What of Bifrost's `client` section this release acts on (wire-contract 9)."""

    async_job_result_ttl: int = 3600
    """Seconds from completion that a result can be fetched, when the request names none."""
    max_request_body_size_mb: int = 100
    allowed_origins: tuple[str, ...] = ()
    """Browser origins the operator named, `*` for any. Empty: none beside our own.

    Bifrost's default is `*`; ours protects whoever runs us on loopback (design.md 5).
    """
    header_filter: HeaderFilter = field(default_factory=HeaderFilter)
    """Which headers of a request may reach the upstream (`header_filter_config`)."""
    logging_headers: tuple[str, ...] = ()
    """Headers that become labels of the job."""
    required_headers: tuple[str, ...] = ()
    """Headers without which a job fails."""
    prometheus_labels: tuple[str, ...] = ()
    """Labels that `x-bf-prom-<label>` may set."""
    compat: CompatSettings = field(default_factory=CompatSettings)
    allow_direct_keys: bool = False
    """Whether callers may bring keys of providers."""
    written: frozenset[str] = frozenset()
    """Which members the file has: nobody changes those over the API."""
    enforce_auth_on_inference: bool = False
    """Whether calls and jobs need a credential also where access would be open."""


@dataclass(frozen=True, slots=True)
class HermodSettings:
    """Our own section, `hermod`. `_s` is seconds, `_ms` milliseconds, `_mb` 2^20 bytes."""

    lease_s: float = 30.0
    renew_s: float = 10.0
    upkeep_s: float = 5.0
    """Between two looks for lost leases, due waits and expired rows."""
    worker_slots: int = 1000
    """Upstream calls in flight, per provider and process."""
    attempt_timeout_s: float = 600.0
    idle_timeout_s: float = 60.0
    """Longest silence once the reply has begun (design.md 8, 12)."""
    connect_timeout_s: float = 10.0
    max_reply_mb: int = 50
    """Of a reply after decompression."""
    job_deadline_s: float = 3600.0
    """From the first start of a job."""
    queue_wait_s: float = 86400.0
    """From its submission to its first start."""
    drain_s: float = 25.0
    """Everything a SIGTERM may take, from the signal to the exit."""
    database_wait_s: float = 60.0
    """How long a start waits for a database server that is not there yet."""
    max_retries: int = 3
    retry_backoff_initial_ms: int = 500
    retry_backoff_max_ms: int = 5000
    forward_unknown_fields: bool = True
    body_budget_mb: int = 512
    """All request bodies being received at once; and a quarter of it, per provider, for large ones
    being sent."""
    synchronous: str = "FULL"
    """SQLite's `PRAGMA synchronous`."""
    mock: bool = True
    """Whether the built-in `mock/*` models answer."""
    strict_prices: bool = False
    """Whether a model without a known price is refused."""
    on_limit: str = "delay"
    """What a job does at a limit, unless its key says it: `delay` waits, `reject` fails."""
    empty_lists: str = "none"
    """What a virtual key's empty lists allow: `none`, or `all` as in Bifrost 1.4 (design.md 8,
    27)."""
    assumed_output_tokens: int = 4096
    """What is reserved for an answer whose request names no limit."""


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """How callers and admins prove who they are, beside virtual keys and the admin token."""

    jwt_issuers: tuple[JwtIssuer, ...] = ()
    own_issuer: str = "hermod"
    """`iss` of tokens that the gateway makes."""
    own_audience: str = "hermod"
    token_life_s: float = TOKEN_LIFE_S
    admin_username: str = ""
    admin_password: Secret = NO_SECRET
    admin_enabled: bool = False
    """Whether that name and password let an admin in (`auth_config.is_enabled`)."""
    auth_on_inference: bool = False
    """Whether `auth_config` asks calls and jobs for a credential."""

    @property
    def jwt(self) -> JwtSettings:
        """What of it is about tokens."""
        return JwtSettings(self.jwt_issuers, self.own_issuer, self.own_audience, self.token_life_s)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the gateway runs with."""

    host: str
    port: int
    base_path: str
    """Empty, or `/prefix` without a slash at its end."""
    app_dir: Path
    config_file: Path | None
    """The file that was read, if there was one."""
    database: str
    """The URL without a password, for showing."""
    database_url: Secret
    database_path: Path | None
    """The file of the embedded database; None where a server keeps the jobs."""
    role: str
    processes: int
    log_level: str
    """A name of the logging module, in capitals."""
    loopback: bool
    """Whether `host` is reachable from this machine only."""
    admin_token: Secret
    encryption_key: Secret
    client: ClientSettings
    hermod: HermodSettings
    providers: Mapping[str, ProviderSettings]
    """By name. The built-in mock is not among them."""
    custom_names: frozenset[str]
    """Model prefixes the operator made up, including those whose adapter is still to come."""
    unconfigured: Mapping[str, ProviderSettings] = field(
        default_factory=dict[str, ProviderSettings], repr=False
    )
    """Providers of the table that nobody configured, for callers who bring a key; none where they
    may not."""
    prices: Mapping[str, OwnPrice] = field(default_factory=dict[str, OwnPrice])
    """`hermod.prices`: what models cost, by `provider/model`; a `*` at the end is any rest."""
    auth: AuthSettings = field(default_factory=AuthSettings)
    governance: tuple[Entity, ...] = ()
    """What the file says of virtual keys, teams, customers and limits. Never written to the
    database (design.md 8, 26)."""
    encryption_key_previous: Secret = NO_SECRET
    """Opens what was sealed before the key was changed."""
    cloud: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What the environment says of the clouds' own credentials (`AWS_…`, `AZURE_…`, …)."""

    @property
    def enforced(self) -> bool:
        """Whether calls and jobs need a credential (wire-contract 9, 10.4; design.md 5)."""
        asked = self.client.enforce_auth_on_inference or self.auth.auth_on_inference
        return asked or not self.loopback


class Ignored(NamedTuple):
    """Something the file says that this release does not act on."""

    place: str
    """The JSON path: `governance.virtual_keys`."""
    reason: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and what the operator should be told at the start."""

    settings: Settings
    warnings: tuple[str, ...]
    ignored: tuple[Ignored, ...]
