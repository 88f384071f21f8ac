"""Accept a job: check it, store it, and only then say so."""

import asyncio
import json
from collections.abc import Container
from typing import NamedTuple

from hermod.domain.clock import Clock
from hermod.domain.errors import bad_request
from hermod.domain.ids import uuid7
from hermod.domain.job import (
    IN_HAND_BYTES,
    Claim,
    ClaimedJob,
    JobView,
    Mode,
    NewJob,
    OnUnknown,
    Principal,
    State,
)
from hermod.jobs.slots import Slots
from hermod.kinds.kind import Kind
from hermod.store.api import Store

MAX_TTL_S = 100 * 365 * 86_400
"""A century: what is asked for beyond it is kept that long (instants are 64 bits)."""


class SubmitSettings(NamedTuple):
    """What the operator decides about accepted jobs."""

    result_ttl_s: int
    queue_wait_s: float


class SubmitHeaders(NamedTuple):
    """The headers of a submit that concern the job."""

    result_ttl: str | None = None
    """`x-bf-async-job-result-ttl`"""
    request_id: str | None = None
    """`x-request-id`"""
    passthrough: str | None = None
    """`x-bf-passthrough-extra-params`"""
    on_unknown: str | None = None
    """`x-hermod-on-unknown`"""


NO_HEADERS = SubmitHeaders()


def requested_ttl_s(value: str | None) -> int | None:
    """The TTL a header asks for; None for whatever means the default (wire-contract 2.1)."""
    if not value:
        return None
    digits = value[1:] if value[0] == "+" else value
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19:
        return None
    seconds = int(digits)
    return min(seconds, MAX_TTL_S) if 0 < seconds < 2**63 else None


class SubmitJob:
    """The use case behind every `POST /v1/async/…`."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        slots: Slots,
        known_providers: Container[str],
        settings: SubmitSettings,
    ) -> None:
        self._store = store
        self._clock = clock
        self._slots = slots
        self._known_providers = known_providers
        self._settings = settings

    async def __call__(
        self, kind: Kind, body: bytes, principal: Principal, headers: SubmitHeaders = NO_HEADERS
    ) -> JobView:
        """The committed job, as its submitter sees it: pending.

        Raises Refused when the request is not one that could run, StoreError when it could not be
        stored: then there is no job.
        """
        checked = kind.check(body, self._known_providers)
        job = self._new_job(kind, checked.provider, checked.model, body, principal, headers)
        claim = self._slots.reserve(job.lane) if len(body) <= IN_HAND_BYTES else None
        if claim is None:
            await self._store.submit_job(job)
            return _pending(job)
        # Once begun it is carried to its end, whatever becomes of our caller: a commit that nobody
        # waits for any more would leave a lease behind that nobody keeps.
        await asyncio.shield(self._commit_and_start(job, claim))
        return _pending(job)

    async def _commit_and_start(self, job: NewJob, claim: Claim) -> None:
        """Store a job leased to this process, in the slot that was reserved for it."""
        try:
            lease = await self._store.submit_job(job, claim)
        except BaseException:
            self._slots.give_back(job.lane)
            raise
        assert lease is not None
        self._slots.start(
            ClaimedJob(
                lease=lease,
                tenant_id=job.tenant_id,
                owner=job.owner,
                kind=job.kind,
                lane=job.lane,
                model=job.model,
                created_at=job.created_at,
                deadline_at=job.created_at + int(claim.job_deadline_s * 1_000_000),
                attempts_spent=0,
                suspicion=0,
                on_unknown=job.on_unknown,
                ttl_s=job.ttl_s,
                options=job.options,
                size=len(job.body),
                body=job.body,
            )
        )

    def _new_job(
        self,
        kind: Kind,
        provider: str,
        model: str,
        body: bytes,
        principal: Principal,
        headers: SubmitHeaders,
    ) -> NewJob:
        now = self._clock.now()
        ttl_s = requested_ttl_s(headers.result_ttl)
        return NewJob(
            id=uuid7(now),
            tenant_id=principal.tenant_id,
            owner=principal.owner,
            kind=kind.request_type,
            mode=Mode.ASYNC,
            lane=provider,
            model=model,
            created_at=now,
            queue_deadline_at=now + int(self._settings.queue_wait_s * 1_000_000),
            ttl_s=ttl_s or self._settings.result_ttl_s,
            ttl_requested=ttl_s is not None,
            body=body,
            options=_options(headers),
            request_id=headers.request_id,
            on_unknown=_on_unknown(headers.on_unknown),
        )


def _options(headers: SubmitHeaders) -> str | None:
    """What the worker must know beside the body."""
    if headers.passthrough is None:
        return None
    return json.dumps({"passthrough": headers.passthrough.strip().lower() == "true"})


def _on_unknown(value: str | None) -> OnUnknown:
    if value is None:
        return OnUnknown.RETRY
    try:
        return OnUnknown(value.strip().lower())
    except ValueError:
        raise bad_request("x-hermod-on-unknown must be retry or fail") from None


def _pending(job: NewJob) -> JobView:
    return JobView(
        id=job.id,
        kind=job.kind,
        state=State.QUEUED,
        created_at=job.created_at,
        completed_at=None,
        expires_at=None,
        ttl_s=job.ttl_s,
        ttl_requested=job.ttl_requested,
        status_code=None,
        request_id=job.request_id,
        body=None,
    )
