"""What an operator made, as the management API shows it (wire-contract 10.1). Pure.

Members without a value are left out. Values of virtual keys are not known: only their ends are.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hermod.domain.governance import (
    ANY,
    Budget,
    Customer,
    ModelLimits,
    ProviderConfig,
    ProviderLimits,
    RateLimit,
    Team,
    VirtualKey,
)
from hermod.domain.meter import EMPTY, Meter, rolled
from hermod.domain.period import window_of
from hermod.domain.wire_time import rfc3339
from hermod.governance.book import Book
from hermod.governance.documents import type_of

Json = dict[str, Any]
Limited = VirtualKey | Team | Customer | ModelLimits | ProviderLimits
_NANOS = 1_000_000_000


class Shown(NamedTuple):
    """What there was when somebody looked."""

    book: Book
    meters: Mapping[str, Meter]
    now: int

    def key(self, key: VirtualKey, value: str | None = None) -> Json:
        """A virtual key; with its `value` where it was just made."""
        team = self.book.team(key.team_id) if key.team_id else None
        customer = self.book.customer(key.customer_id) if key.customer_id else None
        return _present(
            {
                "id": key.id,
                "name": key.name,
                "description": key.description,
                "value": value or masked(key),
                "is_active": key.is_active,
                "expires_at": None if key.expires_at is None else rfc3339(key.expires_at),
                "provider_configs": [
                    self.provider_config(key, config) for config in key.provider_configs
                ],
                "mcp_configs": [],
                "team_id": key.team_id,
                "customer_id": key.customer_id,
                "team": team and {"id": team.id, "name": team.name},
                "customer": customer and {"id": customer.id, "name": customer.name},
                "max_parallel_jobs": key.max_parallel_jobs,
                "max_pending_jobs": key.max_pending_jobs,
                "on_limit": key.on_limit or None,
                **self._limits(key, key.created_at),
                **self._origin(key),
            }
        )

    def provider_config(self, key: VirtualKey, config: ProviderConfig) -> Json:
        """What a key may do with one provider. Its weight may be null."""
        shown = _present(
            {
                "id": config.id,
                "virtual_key_id": key.id,
                "provider": config.provider,
                "allowed_models": config.allowed_models,
                "blacklisted_models": config.blacklisted_models,
                "key_ids": config.key_ids,
                "allow_all_keys": ANY in config.key_ids,
                "keys": [{"key_id": each} for each in config.key_ids if each != ANY],
                **self._limits(config, key.created_at),
            }
        )
        return {**shown, "weight": config.weight}

    def team(self, team: Team) -> Json:
        """A team with its keys."""
        customer = self.book.customer(team.customer_id) if team.customer_id else None
        keys = (key for key in self.book.keys.values() if key.team_id == team.id)
        return _present(
            {
                "id": team.id,
                "name": team.name,
                "customer_id": team.customer_id,
                "customer": customer and {"id": customer.id, "name": customer.name},
                "virtual_keys": [_brief(key) for key in keys],
                **self._limits(team, team.created_at),
                **self._origin(team),
            }
        )

    def customer(self, customer: Customer) -> Json:
        """A customer with its teams and keys."""
        teams = (team for team in self.book.teams.values() if team.customer_id == customer.id)
        keys = (key for key in self.book.keys.values() if key.customer_id == customer.id)
        return _present(
            {
                "id": customer.id,
                "name": customer.name,
                "teams": [{"id": team.id, "name": team.name} for team in teams],
                "virtual_keys": [_brief(key) for key in keys],
                **self._limits(customer, customer.created_at),
                **self._origin(customer),
            }
        )

    def model(self, model: ModelLimits) -> Json:
        """A model's limits."""
        return _present(
            {
                "id": model.id,
                "model_name": model.model_name,
                "provider": model.provider,
                **self._limits(model, model.created_at),
                **self._origin(model),
            }
        )

    def provider(self, provider: ProviderLimits) -> Json:
        """A provider's limits."""
        return _present(
            {
                "provider": provider.id,
                **self._limits(provider, provider.created_at),
                **self._origin(provider),
            }
        )

    def budget(self, budget: Budget, created_at: int) -> Json:
        """A budget, and what is spent of it in its present period, in USD."""
        meter = self._meter(budget.id, budget.reset_duration, budget.calendar_aligned, created_at)
        return {
            "id": budget.id,
            "max_limit": budget.max_limit_nanos / _NANOS,
            "reset_duration": budget.reset_duration,
            "last_reset": rfc3339(meter.began_at),
            "current_usage": meter.used / _NANOS,
            "reserved": meter.reserved / _NANOS,
            "overspent": max(meter.used - budget.max_limit_nanos, 0) / _NANOS,
            "calendar_aligned": budget.calendar_aligned,
        }

    def rate_limit(self, limit: RateLimit, created_at: int) -> Json:
        """A rate limit, and what is used of both of its sides."""
        shown: Json = {"id": limit.id, "calendar_aligned": limit.calendar_aligned}
        for side, most, duration, meter_id in (
            ("token", limit.token_max_limit, limit.token_reset_duration, f"{limit.id}:tokens"),
            (
                "request",
                limit.request_max_limit,
                limit.request_reset_duration,
                f"{limit.id}:requests",
            ),
        ):
            meter = self._meter(meter_id, duration, limit.calendar_aligned, created_at)
            if most is not None:
                shown[f"{side}_max_limit"] = most
                shown[f"{side}_reset_duration"] = duration
            shown[f"{side}_current_usage"] = meter.used
            shown[f"{side}_last_reset"] = rfc3339(meter.began_at)
        return shown

    def _meter(self, meter_id: str, duration: str, aligned: bool, created_at: int) -> Meter:
        stored = self.meters.get(meter_id)
        window = window_of(duration, aligned, self.now)
        if stored is None and window.begins_at is None:
            # Its first period begins with its first use; until then it is as old as its owner.
            return EMPTY._replace(began_at=created_at or self.now)
        return rolled(stored or EMPTY, window, self.now)

    def _limits(self, owner: Limited | ProviderConfig, created_at: int) -> Json:
        budget, limit = owner.budget, owner.rate_limit
        return {
            "budget_id": budget and budget.id,
            "rate_limit_id": limit and limit.id,
            "budget": budget and self.budget(budget, created_at),
            "rate_limit": limit and self.rate_limit(limit, created_at),
        }

    def _origin(self, entity: Limited) -> Json:
        from_file = self.book.is_from_file(type_of(entity), entity.id)
        return {
            "managed_by": "file" if from_file else None,
            "created_at": rfc3339(entity.created_at) if entity.created_at else None,
            "updated_at": rfc3339(entity.updated_at) if entity.updated_at else None,
        }


def masked(key: VirtualKey) -> str:
    """What is shown of a value: it says which one it is, not what it is."""
    return f"sk-bf-****{key.last_four}" if key.secret_hash else ""


def _brief(key: VirtualKey) -> Json:
    return {"id": key.id, "name": key.name, "value": masked(key), "is_active": key.is_active}


def _present(members: Json) -> Json:
    return {name: value for name, value in members.items() if value is not None}
