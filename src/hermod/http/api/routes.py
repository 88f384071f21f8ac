"""All routes of governance and sessions. Those of providers and keys stand beside them."""

from collections.abc import Iterator
from typing import NamedTuple

from hermod.domain.clock import Clock
from hermod.governance.issuer import Issuer
from hermod.governance.management import Management
from hermod.governance.sessions import Sessions
from hermod.http.api import (
    customers,
    model_configs,
    provider_limits,
    routing_rules,
    teams,
)
from hermod.http.api.about import About
from hermod.http.api.audit import AuditLog
from hermod.http.api.desk import Desk
from hermod.http.api.limits import Limits
from hermod.http.api.session import SessionRoutes
from hermod.http.api.virtual_keys import VirtualKeys
from hermod.http.app import Gatekeeper, Route
from hermod.http.guesses import Guesses


class Api(NamedTuple):
    """What they need."""

    management: Management
    sessions: Sessions
    issuer: Issuer
    gatekeeper: Gatekeeper
    guesses: Guesses
    """The same that the application asks."""
    clock: Clock
    version: str
    base_path: str
    token_life_s: float


def api_routes(api: Api) -> Iterator[Route]:
    """Those of `/api/governance`, `/api/session` and `/api/version`, and the public keys."""
    desk, management, clock = Desk(), api.management, api.clock
    yield from VirtualKeys(management, desk, clock, api.issuer, api.token_life_s).routes()
    for resource in (teams, customers, model_configs, provider_limits):
        yield from resource.routes(management, desk, clock)
    yield from Limits(management, clock).routes()
    yield from AuditLog(management).routes()
    yield from routing_rules.routes()
    session = SessionRoutes(api.sessions, api.gatekeeper, api.guesses, desk, api.base_path)
    yield from session.routes()
    yield from About(api.version, api.issuer).routes()
