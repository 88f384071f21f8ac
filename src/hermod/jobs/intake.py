"""From a request to a job that could be stored: what submits and synchronous calls share."""

import logging
from collections.abc import Callable, Container
from typing import Final, NamedTuple

from hermod.domain.beside import BESIDE_BYTES, beside
from hermod.domain.clock import Clock
from hermod.domain.errors import Refused, bad_request
from hermod.domain.failure import Failure
from hermod.domain.governance import VirtualKey
from hermod.domain.headers import SECRET_NAME
from hermod.domain.ids import uuid7
from hermod.domain.job import (
    IN_HAND_BYTES,
    Claim,
    ClaimedJob,
    JobView,
    Lease,
    Mode,
    NewJob,
    OnUnknown,
    Spooled,
    State,
    size_of,
)
from hermod.domain.job_secrets import JobSecrets
from hermod.domain.options import NO_OPTIONS, Options
from hermod.domain.provider import NO_SECRET, Secret
from hermod.governance.balance import Placed
from hermod.governance.identity import Identity
from hermod.kinds.form import Form
from hermod.kinds.kind import NO_PROVIDER, NOT_A_MODEL, AnyKind, Checked, FormKind
from hermod.store.api import Store
from hermod.vault import NoKey, Vault, VaultError

log = logging.getLogger(__name__)

MAX_TTL_S: Final = 100 * 365 * 86_400
"""A century: what is asked for beyond it is kept that long (instants are 64 bits)."""

_NO_KEY: Final = (
    "a job with a provider key or another secret in its headers cannot be stored: this gateway has "
    "no encryption key (set encryption_key in its config, or HERMOD_ENCRYPTION_KEY); synchronous "
    "calls need none"
)
_BAD_KEY: Final = "the secrets of this request cannot be encrypted; the gateway's log says why"


class _AlsoBare:
    """The known providers, and that a model may come without one."""

    def __init__(self, known: Container[str]) -> None:
        self._known = known

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name == NO_PROVIDER or name in self._known)


class JobSettings(NamedTuple):
    """What the operator decides about accepted jobs."""

    result_ttl_s: int
    queue_wait_s: float


class JobHeaders(NamedTuple):
    """The headers of a request that concern its job."""

    result_ttl: str | None = None
    """`x-bf-async-job-result-ttl`"""
    request_id: str | None = None
    """`x-request-id`"""
    on_unknown: OnUnknown = OnUnknown.RETRY
    """`x-hermod-on-unknown`"""
    options: Options = NO_OPTIONS
    direct_key: Secret | None = None
    """The caller's own provider key."""


NO_HEADERS: Final = JobHeaders()


class Asked(NamedTuple):
    """A request as it came."""

    body: bytes | Spooled
    form: Form | None = None
    """What a multipart body holds."""


def requested_ttl_s(value: str | None) -> int | None:
    """The TTL a header asks for; None for whatever means the default (wire-contract 2.1)."""
    if not value:
        return None
    digits = value[1:] if value[0] == "+" else value
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    seconds = int(digits)
    return min(seconds, MAX_TTL_S) if 0 < seconds < 2**63 else None


class Intake:
    """Checks requests and makes jobs of them."""

    def __init__(
        self,
        clock: Clock,
        known_providers: Container[str],
        settings: JobSettings,
        vault: Vault | None = None,
        place: Callable[[VirtualKey, str], Placed | None] | None = None,
    ) -> None:
        """Without a vault nothing secret can be kept.

        `place` chooses the provider of a model that has no prefix.
        """
        self._clock = clock
        self._known_providers = known_providers
        self._also_bare = _AlsoBare(known_providers)
        self._settings = settings
        self._vault = vault or Vault()
        self._place = place

    def keep_results(self, ttl_s: int) -> None:
        """For so long, in seconds, from the next job on that does not say it itself."""
        self._settings = self._settings._replace(result_ttl_s=ttl_s)

    async def check(self, kind: AnyKind, asked: Asked, identity: Identity) -> Checked:
        """Where the request goes. Raises Refused.

        Who shows a virtual key may name a model without a provider (wire-contract 8.3): then the
        provider is `NO_PROVIDER` still, for `new_job` to choose.
        """
        known = self._known_providers
        if identity.key is not None and self._place is not None:
            known = self._also_bare
        if isinstance(kind, FormKind):
            assert asked.form is not None
            return kind.check(asked.form, known)
        body = asked.body
        assert isinstance(body, bytes)
        if len(body) <= BESIDE_BYTES:
            return kind.check(body, known)
        return await beside(len(body), kind.check, body, known)

    async def new_job(
        self,
        kind: AnyKind,
        checked: Checked,
        asked: Asked,
        identity: Identity,
        headers: JobHeaders,
        mode: Mode = Mode.ASYNC,
    ) -> NewJob:
        """The job of a request that was checked.

        Raises Refused when its secrets cannot be kept, or no provider has its model.
        """
        principal = identity.principal
        now = self._clock.now()
        job_id = uuid7(now)
        options = headers.options
        if checked.provider == NO_PROVIDER:
            placed = self._placed(identity, checked.model)
            checked = checked._replace(provider=placed.provider)
            options = options._replace(fallbacks=placed.fallbacks)
        if options.forward or headers.direct_key is not None:
            direct_key = headers.direct_key or NO_SECRET
            secrets = JobSecrets(options.forward, direct_key, checked.provider)
            options = await self._sealed(options, secrets, job_id, mode)
        ttl_s = requested_ttl_s(headers.result_ttl)
        # In the order of the members: named, they would take three times the time.
        return NewJob(
            job_id,
            principal.tenant_id,
            principal.owner,
            kind.request_type,
            mode,
            checked.provider,
            checked.model,
            now,
            now + int(self._settings.queue_wait_s * 1_000_000),
            ttl_s or self._settings.result_ttl_s,
            ttl_s is not None,
            asked.body,
            options.encode(),
            headers.request_id,
            # Nobody waits any more when a call is found again after a crash.
            headers.on_unknown if mode is Mode.ASYNC else OnUnknown.FAIL,
        )

    def _placed(self, identity: Identity, model: str) -> Placed:
        assert self._place is not None
        assert identity.key is not None
        placed = self._place(identity.key, model)
        if placed is None:
            raise bad_request(NOT_A_MODEL)
        return placed

    async def _sealed(
        self, options: Options, secrets: JobSecrets, job_id: str, mode: Mode
    ) -> Options:
        """The options without anything that must not be read in the store. Raises Refused."""
        vault = self._vault
        if mode is Mode.SYNC:
            # Such a job never runs in another process: no key has to outlive this one.
            text = vault.seal_in_passing(secrets.encode(), job_id)
            return options._replace(forward=(), sealed=text)
        harmless = not (
            secrets.direct_key or any(SECRET_NAME.search(name) for name, _ in secrets.forward)
        )
        if harmless and not vault.has_key:
            return options
        try:
            text = await vault.seal(secrets.encode(), job_id)
        except NoKey:
            raise bad_request(_NO_KEY) from None
        except (OSError, VaultError) as error:
            log.error("the encryption key cannot be used: %s", error)
            raise Refused(Failure(_BAD_KEY, status_code=500)) from None
        return options._replace(forward=(), sealed=text)


async def stored(store: Store, job: NewJob, claim: Claim) -> ClaimedJob:
    """Store a job leased to this process. Raises StoreError: then there is no job."""
    lease = await store.submit_job(job, claim)
    assert lease is not None
    return claimed(job, claim, lease)


def claimed(job: NewJob, claim: Claim, lease: Lease) -> ClaimedJob:
    """A job that was stored with a claim, as its worker sees it."""
    size = size_of(job.body)
    in_hand = job.body if isinstance(job.body, bytes) and size <= IN_HAND_BYTES else None
    deadline_at = job.created_at + int(claim.job_deadline_s * 1_000_000)
    # In the order of the members: named, they would take three times the time.
    return ClaimedJob(
        lease,
        job.tenant_id,
        job.owner,
        job.kind,
        job.lane,
        job.model,
        job.created_at,
        deadline_at,
        0,
        0,
        job.on_unknown,
        job.ttl_s,
        job.options,
        size,
        in_hand,
    )


def pending(job: NewJob) -> JobView:
    """A new job as its submitter sees it."""
    return JobView(
        job.id,
        job.kind,
        State.QUEUED,
        job.created_at,
        None,
        None,
        job.ttl_s,
        job.ttl_requested,
        None,
        job.request_id,
        job.lane,
        job.model,
        None,
    )
