"""What `hermod keys` does."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from hermod.administering import Administering, key_in_force
from hermod.cli.beside import BY, beside
from hermod.cli.keys_show import Json, lines, table
from hermod.config.section import did_you_mean
from hermod.domain.duration import duration_s
from hermod.domain.errors import HermodError
from hermod.domain.governance import VirtualKey
from hermod.domain.period import is_period
from hermod.domain.wire_time import from_rfc3339, rfc3339
from hermod.governance.wishes import BudgetWish, KeyWish, ProviderConfigWish, RateLimitWish
from hermod.providers.registry import KNOWN_PROVIDERS, MOCK

Flags = Mapping[str, Any]
Environ = Mapping[str, str]

_PER: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)/(\S+)")
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_ONCE: Final = "The value is shown this once; the database has only its hash."


class _Wrong(HermodError):
    """Something that was given cannot be."""


def create(wanted: Flags, environ: Environ, *, as_json: bool) -> int:
    """Make a key; its value goes to standard output."""

    async def act(desk: Administering) -> int:
        wish = _wish(desk, wanted)
        made = await desk.management.create_key(wish, BY)
        await _tell_value(desk, made.key, made.value, "made", as_json=as_json)
        return 0

    return beside(wanted, environ, act, makes=True)


def list_(flags: Flags, environ: Environ, *, as_json: bool) -> int:
    """Every key, by name."""

    async def act(desk: Administering) -> int:
        keys = sorted(desk.management.book.keys.values(), key=lambda key: key.name)
        shown = await desk.shown(keys)
        if as_json:
            _print_json({"virtual_keys": shown})
        elif shown:
            click.echo("\n".join(table(shown, desk.clock.now())))
        else:
            click.echo("There are none: hermod keys create NAME", err=True)
        return 0

    return beside(flags, environ, act)


def show(flags: Flags, environ: Environ, name: str, *, as_json: bool) -> int:
    """One key."""

    async def act(desk: Administering) -> int:
        (shown,) = await desk.shown([_key(desk, name)])
        if as_json:
            _print_json(shown)
        else:
            click.echo("\n".join(lines(shown, desk.clock.now())))
        return 0

    return beside(flags, environ, act)


def revoke(flags: Flags, environ: Environ, name: str, *, delete: bool, as_json: bool) -> int:
    """Switch a key off, or remove it."""

    async def act(desk: Administering) -> int:
        key = _own_key(desk, name)
        if delete:
            await desk.management.delete_key(key.id, BY)
        else:
            await desk.management.update_key(key.id, KeyWish(is_active=False), BY)
        what = "deleted" if delete else "revoked"
        if as_json:
            _print_json({"id": key.id, "name": key.name, what: True})
        click.echo(f"{key.name} ({key.id}) is {what}. Gateways know within a second.", err=True)
        return 0

    return beside(flags, environ, act)


def rotate(flags: Flags, environ: Environ, name: str, *, as_json: bool) -> int:
    """Give a key another value, which goes to standard output."""

    async def act(desk: Administering) -> int:
        made = await desk.management.rotate_key(_own_key(desk, name).id, BY)
        await _tell_value(desk, made.key, made.value, "a new value", as_json=as_json)
        return 0

    return beside(flags, environ, act)


def token(flags: Flags, environ: Environ, name: str, life: str | None, *, as_json: bool) -> int:
    """Make a token, which goes to standard output."""

    async def act(desk: Administering) -> int:
        life_s = desk.settings.auth.token_life_s if life is None else duration_s(life)
        if life_s is None:
            raise _Wrong(f"--life: expected a time such as 90d or 12h, got {life!r}")
        key_in_force(desk.settings)  # or there is none to seal the signing key with
        key, now = _key(desk, name), desk.clock.now()
        try:
            made = await desk.issuer.token_for(key, life_s, now)
        except ValueError as error:
            raise _Wrong(f"--life: {error}") from None
        await desk.management.note("virtual_key.token", key.id, BY)
        ends = rfc3339(now + int(life_s) * 1_000_000)
        if as_json:
            _print_json({"token": made, "token_type": "Bearer", "expires_at": ends})
        else:
            click.echo(made)
        click.echo(f"for {key.name} ({key.id}), until {ends}{_but(key, now)}", err=True)
        return 0

    return beside(flags, environ, act, makes=True)


def rotate_signing(flags: Flags, environ: Environ, *, as_json: bool) -> int:
    """Have tokens signed with another key, whose id goes to standard output."""

    async def act(desk: Administering) -> int:
        key_in_force(desk.settings)
        kid = await desk.issuer.rotate(BY)
        if as_json:
            _print_json({"kid": kid})
        else:
            click.echo(kid)
        text = "Tokens of the last key stay good; those of the one before it have ended."
        click.echo(text, err=True)
        return 0

    return beside(flags, environ, act, makes=True)


# What was asked for


def _wish(desk: Administering, wanted: Flags) -> KeyWish:
    """Raises HermodError naming the option that is wrong."""
    names: tuple[str, ...] = wanted["providers"] or desk.providers
    if not names:
        raise _Wrong("no provider is configured: name those that the key is for with --provider")
    for name in names:
        if not desk.is_provider(name):
            hint = did_you_mean(name, (*KNOWN_PROVIDERS, *desk.providers))
            raise _Wrong(f"--provider: there is no provider {name!r}{hint}")
    # With one provider there is no doubt where a model goes that is asked for by its bare name.
    chosen = [name for name in names if name != MOCK or wanted["providers"]]
    weight = 1.0 if len(chosen) == 1 else None
    models = [each.strip() for each in wanted["models"].split(",") if each.strip()]
    limits: dict[str, Any] = {
        "provider_configs": [
            ProviderConfigWish(
                provider=name,
                weight=weight if name in chosen else None,
                allowed_models=models,
                key_ids=["*"],
            )
            for name in names
        ],
        "budget": _budget(wanted["budget"]),
        "rate_limit": _rate_limit(wanted["requests"], wanted["tokens"]),
        "expires_at": _expiry(wanted["expires"], desk.clock.now()),
    }
    return KeyWish(
        name=wanted["name"],
        team_id=_team(desk, wanted["team"]),
        max_parallel_jobs=wanted["parallel"],
        max_pending_jobs=wanted["pending"],
        on_limit=wanted["on_limit"],
        **limits,
    )


def _budget(text: str | None) -> BudgetWish | None:
    if text is None:
        return None
    amount, period = _per("--budget", text, "10/1d")
    return BudgetWish(max_limit=float(amount), reset_duration=period)


def _rate_limit(requests: str | None, tokens: str | None) -> RateLimitWish | None:
    sides: dict[str, Any] = {}
    for side, option, text in (("request", "--requests", requests), ("token", "--tokens", tokens)):
        if text is not None:
            amount, period = _per(option, text, "100/1m")
            if not amount.isdecimal():
                raise _Wrong(f"{option}: expected a whole number, got {amount}")
            sides |= {f"{side}_max_limit": int(amount), f"{side}_reset_duration": period}
    return RateLimitWish(**sides) if sides else None


def _per(option: str, text: str, example: str) -> tuple[str, str]:
    found = _PER.fullmatch(text)
    if found is None or not is_period(found[2]):
        raise _Wrong(
            f"{option}: expected an amount and a period (1m, 1h, 1d, 1w, 1M), such as {example}, "
            f"got {text!r}"
        )
    return found[1], found[2]


def _expiry(text: str | None, now: int) -> datetime | None:
    if text is None:
        return None
    lasts_s = duration_s(text)
    at = from_rfc3339(text) if lasts_s is None else now + int(lasts_s * 1_000_000)
    try:
        if at is not None:
            return _EPOCH + timedelta(microseconds=at)
    except OverflowError:
        pass
    raise _Wrong(f"--expires: expected a time such as 30d or 2030-01-31T00:00:00Z, got {text!r}")


def _team(desk: Administering, name: str | None) -> str | None:
    if name is None:
        return None
    teams = desk.management.book.teams
    by_name = {team.name: team.id for team in teams.values()}
    team_id = name if name in teams else by_name.get(name)
    if team_id is None:
        raise _Wrong(f"--team: there is no team {name!r}{did_you_mean(name, by_name)}")
    return team_id


def _key(desk: Administering, name: str) -> VirtualKey:
    """By its id, or by its name. Raises HermodError."""
    keys = desk.management.book.keys
    by_name = {key.name: key for key in keys.values()}
    key = keys.get(name) or by_name.get(name)
    if key is None:
        hint = did_you_mean(name, by_name) or ": hermod keys list shows all"
        raise _Wrong(f"there is no virtual key {name!r}{hint}")
    return key


def _own_key(desk: Administering, name: str) -> VirtualKey:
    """The same; one that can be changed here."""
    key = _key(desk, name)
    if desk.management.book.is_from_file("virtual_key", key.id):
        raise _Wrong(
            f"{key.name} is managed by file: change governance.virtual_keys in "
            f"{desk.settings.config_file}"
        )
    return key


# What is shown


async def _tell_value(
    desk: Administering, key: VirtualKey, value: str, what: str, *, as_json: bool
) -> None:
    (shown,) = await desk.shown([key], value)
    if as_json:
        _print_json(shown)
    else:
        click.echo(value)
    providers = ", ".join(config.provider for config in key.provider_configs) or "nothing"
    click.echo(f"{key.name} ({key.id}): {what}, for {providers}. {_ONCE}", err=True)


def _print_json(told: Json) -> None:
    click.echo(json.dumps(told, indent=2, ensure_ascii=False))


def _but(key: VirtualKey, now: int) -> str:
    """What keeps a token from being good."""
    if not key.is_active:
        return ". But the key is revoked"
    if key.expires_at is not None and key.expires_at <= now:
        return ". But the key has expired"
    return ""
