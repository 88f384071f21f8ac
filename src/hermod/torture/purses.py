"""Who asks in a run, who pays, and what limits them: its virtual keys, budgets and prices. Pure.

Every request has a fixed price, so what was spent can be told from the calls alone, and an estimate
is never wrong. Periods of budgets are longer than any run.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from hermod.torture.history import Limit, Money, Purse
from hermod.torture.plan import AWAY, BUSY, LANES, Plan

PRICES_USD: Final = {LANES[0]: 0.01, LANES[1]: 0.02, BUSY: 0.005, AWAY: 0.005}
_NANOS: Final = 1_000_000_000
_USUAL_USD: Final = 0.0133
"""What a job costs on average, about."""
_PAYS_FOR: Final = 0.5
"""The share of its jobs that a budget pays for which is to be used up."""
_KEEPS_UP: Final = 0.9
"""The share of its load that a limit of calls at once lets through."""
_LONGER_S: Final = 5.0
"""What a limit of requests may add to a run, about."""
_PERIOD: Final = ("1s", 1.0)
_NO_LIMIT: Final = 1_000_000

_NOBODY: Final = ""
_RICH: Final = "rich"
_SPENT: Final = "spent"
_POOR: Final = "poor"
_TEAM: Final = ("left", "right")
_NARROW: Final = "narrow"
_PACED: Final = "paced"
_SHARES: Final = {
    _NOBODY: 0.45, _RICH: 0.15, _SPENT: 0.08, _POOR: 0.02, _TEAM[0]: 0.05, _TEAM[1]: 0.05,
    _NARROW: 0.12, _PACED: 0.08,
}  # fmt: skip
"""Of all jobs."""


class Asker(NamedTuple):
    """Somebody who submits jobs."""

    key_id: str
    """Of the virtual key; empty without one."""
    headers: tuple[tuple[str, str], ...]
    """What shows it."""


@dataclass(frozen=True)
class Purses:
    """Everybody of one run."""

    askers: Sequence[Asker]
    money: Money
    governance: Mapping[str, Any]
    """For the configuration."""

    @classmethod
    def of(cls, plan: Plan, run: str) -> "Purses":
        """Those of a plan. `run` sets them apart from those of other runs on the same database."""
        maker = _Maker(plan, run)
        askers = [Asker(maker.id_of(name), maker.shown(name)) for name in _SHARES]
        return cls(askers, maker.money(), maker.governance())

    def draw(self, dice: random.Random) -> Asker:
        """Who submits the next job."""
        return dice.choices(self.askers, list(_SHARES.values()))[0]


class _Maker:
    def __init__(self, plan: Plan, run: str) -> None:
        self._plan = plan
        self._run = run

    def id_of(self, name: str) -> str:
        return f"{name}-{self._run}" if name else ""

    def shown(self, name: str) -> tuple[tuple[str, str], ...]:
        return (("x-bf-vk", self._value(name)),) if name else ()

    def _value(self, name: str) -> str:
        return f"sk-bf-torture-{self.id_of(name)}"

    def _budget_id(self, name: str) -> str:
        return f"budget-{self.id_of(name)}"

    def _cap_usd(self, *names: str) -> float:
        """Enough for a share of their jobs, and at least for the dearest call."""
        jobs = self._plan.jobs * sum(_SHARES[name] for name in names)
        return max(round(jobs * _PAYS_FOR * _USUAL_USD, 2), *PRICES_USD.values())

    def _caps_usd(self) -> dict[tuple[str, ...], float]:
        """What the keys of each budget may spend together."""
        return {
            (_RICH,): float(_NO_LIMIT),
            (_SPENT,): self._cap_usd(_SPENT),
            (_POOR,): max(PRICES_USD.values()),
            _TEAM: self._cap_usd(*_TEAM),
        }

    def _at_once(self) -> int:
        plan, share = self._plan, _SHARES[_NARROW]
        most = round(plan.rate * share * plan.call_s * _KEEPS_UP)
        return max(2, min(most, int(plan.jobs * share / 4)))

    def _per_period(self) -> int:
        plan = self._plan
        lasts_s = plan.jobs / plan.rate + _LONGER_S
        return max(2, round(plan.jobs * _SHARES[_PACED] / lasts_s * _PERIOD[1]))

    def money(self) -> Money:
        """What the checker is told."""
        purses = [
            Purse(
                " and ".join(names),
                self._budget_id(names[0]),
                tuple(map(self.id_of, names)),
                _nanos(usd),
            )
            for names, usd in self._caps_usd().items()
        ]
        narrow, paced = self.id_of(_NARROW), self.id_of(_PACED)
        limits = (
            Limit(f"{narrow}:parallel", narrow, self._at_once()),
            Limit(f"rate-{paced}:requests", paced, self._per_period(), _PERIOD[1]),
        )
        prices = {lane: _nanos(usd) for lane, usd in PRICES_USD.items()}
        return Money(prices, tuple(purses), limits)

    def governance(self) -> dict[str, Any]:
        """What the gateways are told."""
        budgets = {
            names: {"id": self._budget_id(names[0]), "max_limit": usd, "reset_duration": "1w"}
            for names, usd in self._caps_usd().items()
        }
        request = {"request_max_limit": _NO_LIMIT, "request_reset_duration": "1h"}
        more: dict[str, dict[str, Any]] = {
            _RICH: {
                "budget": budgets[_RICH,],
                "rate_limit": {"id": f"rate-{self.id_of(_RICH)}", **request},
                "max_parallel_jobs": _NO_LIMIT,
                "max_pending_jobs": _NO_LIMIT,
            },
            _SPENT: {"budget": budgets[_SPENT,], "max_pending_jobs": _NO_LIMIT},
            _POOR: {"budget": budgets[_POOR,]},
            _NARROW: {"max_parallel_jobs": self._at_once()},
            _PACED: {
                "on_limit": "delay",
                "rate_limit": {
                    "id": f"rate-{self.id_of(_PACED)}",
                    "request_max_limit": self._per_period(),
                    "request_reset_duration": _PERIOD[0],
                },
            },
        }
        team = f"team-{self._run}"
        more |= {name: {"team_id": team} for name in _TEAM}
        return {
            "virtual_keys": [self._key(name, limits) for name, limits in more.items()],
            "teams": [{"id": team, "name": team, "budget": budgets[_TEAM]}],
        }

    def _key(self, name: str, limits: Mapping[str, Any]) -> dict[str, Any]:
        everything = {"weight": 1, "allowed_models": ["*"], "key_ids": ["*"]}
        return {
            "id": self.id_of(name),
            "name": self.id_of(name),
            "value": self._value(name),
            "provider_configs": [{"provider": lane, **everything} for lane in PRICES_USD],
            **limits,
        }


def _nanos(usd: float) -> int:
    return round(usd * _NANOS)
