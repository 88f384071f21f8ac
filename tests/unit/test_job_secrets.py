"""What of a request nobody may read in the store: from the intake to the call."""

from pathlib import Path
from typing import Final

import pytest

from hermod.calls.direct import HEADER_PROVIDED, DirectKeys, Opened, pace_of
from hermod.clock import SystemClock
from hermod.domain.errors import Refused
from hermod.domain.job import Mode, NewJob
from hermod.domain.job_secrets import JobSecrets
from hermod.domain.options import NO_OPTIONS, Options
from hermod.domain.outcome import Fault, Retryable
from hermod.domain.provider import KeySettings, ProviderSettings, Secret
from hermod.governance.identity import OPEN
from hermod.jobs.intake import Asked, Intake, JobHeaders, JobSettings
from hermod.kinds.chat_completion import CHAT_COMPLETION
from hermod.kinds.kind import Checked
from hermod.vault import Vault
from tests.support.config import read

FORWARD: Final = (("x-title", "canary-1 é"), ("x-token", "canary-2"), ("x-token", "canary-3"))
TITLE: Final = FORWARD[:1]
KEY: Final = Secret("sk-canary-4")
NAME: Final = "openai"
ORDER: Final = KeySettings("main", "main", Secret("sk-configured"), models=frozenset({"other"}))


def vault() -> Vault:
    """One with a key."""
    return Vault(Secret("an operator's key"), cost=2)


async def stored(
    held: Vault,
    *,
    forward: tuple[tuple[str, str], ...] = FORWARD,
    direct_key: Secret | None = KEY,
    mode: Mode = Mode.ASYNC,
    options: Options = NO_OPTIONS,
) -> NewJob:
    """The job of a request with these secrets, as it goes to the store."""
    intake = Intake(SystemClock(), {NAME}, JobSettings(3600, 3600.0), held)
    headers = JobHeaders(options=options._replace(forward=forward), direct_key=direct_key)
    body = b'{"model":"openai/any","messages":[{"role":"user"}]}'
    asked, checked = Asked(body), Checked(NAME, "any")
    return await intake.new_job(CHAT_COMPLETION, checked, asked, OPEN, headers, mode)


def provider(tmp_path: Path, name: str = NAME, **network: str) -> ProviderSettings:
    """A provider as it is configured, with a key that may be used for another model only."""
    entry = {"keys": [{"name": "main", "value": "sk-configured", "models": ["other"]}]}
    document = {"providers": {name: entry | {"network_config": network}}}
    return read(tmp_path, document).settings.providers[name]


async def opened(
    held: Vault, job: NewJob, configured: ProviderSettings | None = None, name: str = NAME
) -> Opened | Fault:
    """What a call of this job goes by."""
    direct = DirectKeys(held)
    return await direct.opened(Options.decode(job.options), name, configured, job.id)


@pytest.mark.parametrize("mode", Mode)
async def test_secrets_are_stored_sealed_and_reach_the_call(mode: Mode, tmp_path: Path) -> None:
    held = vault()
    job = await stored(held, mode=mode, options=Options(session_id="s"))
    assert "canary" not in repr(job)
    assert Options.decode(job.options).session_id == "s"
    found = await opened(held, job, provider(tmp_path))
    assert isinstance(found, Opened)
    assert (found.options.forward, found.options.session_id) == (FORWARD, "s")
    assert found.provider is not None
    (key,) = found.provider.keys
    assert (key.name, key.id, key.value) == (HEADER_PROVIDED, HEADER_PROVIDED, KEY)
    assert key.allows("any")


async def test_a_request_without_secrets_seals_nothing() -> None:
    job = await stored(Vault(), forward=(), direct_key=None, options=Options(key_name="main"))
    assert job.options == '{"key_name":"main"}'


async def test_a_callers_key_is_shown_to_the_jobs_own_provider_only(tmp_path: Path) -> None:
    held = vault()
    job, other = await stored(held), provider(tmp_path, "groq")
    found = await opened(held, job, other, "groq")
    assert isinstance(found, Opened)
    assert found.provider is other


async def test_a_callers_key_wins_over_one_that_it_chose(tmp_path: Path) -> None:
    held = vault()
    job = await stored(held, options=Options(key_name="main", key_id="main"))
    found = await opened(held, job, provider(tmp_path))
    assert isinstance(found, Opened)
    assert (found.options.key_name, found.options.key_id) == (None, None)


async def test_a_provider_that_nobody_configured_can_be_called_with_a_callers_key(
    tmp_path: Path,
) -> None:
    held = vault()
    unconfigured = {NAME: provider(tmp_path)}
    direct = DirectKeys(held, unconfigured)
    job = await stored(held)
    found = await direct.opened(Options.decode(job.options), NAME, None, job.id)
    assert isinstance(found, Opened)
    assert found.provider is not None
    assert [key.value for key in found.provider.keys] == [KEY]
    without = await stored(held, direct_key=None)
    found = await direct.opened(Options.decode(without.options), NAME, None, without.id)
    assert isinstance(found, Opened)
    assert found.provider is None


async def test_a_provider_without_an_address_cannot_be_called_with_a_callers_key(
    tmp_path: Path,
) -> None:
    held = vault()
    azure = provider(tmp_path, "azure")
    found = await opened(held, await stored(held, forward=()), azure)
    assert isinstance(found, Fault)
    assert (found.sent, found.failure.status_code) == (False, 400)
    assert "network_config.base_url" in found.failure.message


# Another key, or none


@pytest.mark.parametrize("held", [Vault(Secret("another key"), cost=2), Vault()])
async def test_a_job_whose_secrets_cannot_be_opened_fails_and_sends_nothing(held: Vault) -> None:
    found = await opened(held, await stored(vault()))
    assert isinstance(found, Fault)
    assert (found.sent, found.retryable, found.failure.status_code) == (False, Retryable.NO, 500)
    assert "encryption key" in found.failure.message


async def test_secrets_of_another_job_are_of_no_use() -> None:
    held = vault()
    first, second = await stored(held), await stored(held)
    assert isinstance(await opened(held, second._replace(options=first.options)), Fault)


async def test_a_key_file_that_cannot_be_read_now_may_be_readable_later(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    job = await stored(Vault(key_file=path, cost=2))
    path.rename(tmp_path / "away")
    path.mkdir()
    found = await opened(Vault(key_file=path, cost=2), job)
    assert isinstance(found, Fault)
    assert (found.sent, found.retryable) == (False, Retryable.BACKOFF)


@pytest.mark.parametrize("secret", [{"forward": ()}, {"direct_key": None}])
async def test_without_a_key_a_secret_cannot_be_stored(secret: dict[str, None]) -> None:
    with pytest.raises(Refused) as refused:
        await stored(Vault(), **secret)  # pyright: ignore[reportArgumentType]
    assert refused.value.failure.status_code == 400
    assert "HERMOD_ENCRYPTION_KEY" in refused.value.failure.message


async def test_without_a_key_a_call_that_is_waited_for_can_have_secrets_all_the_same() -> None:
    held = Vault()
    job = await stored(held, mode=Mode.SYNC)
    assert "canary" not in repr(job)
    found = await opened(held, job)
    assert isinstance(found, Opened)
    assert found.options.forward == FORWARD


async def test_without_a_key_headers_that_name_no_secret_are_stored_as_they_are() -> None:
    job = await stored(Vault(), forward=TITLE, direct_key=None)
    assert Options.decode(job.options) == Options(forward=TITLE)


async def test_a_key_file_that_holds_none_is_the_gateways_fault(tmp_path: Path) -> None:
    path = tmp_path / "encryption.key"
    path.write_text("?", "ascii")
    with pytest.raises(Refused) as refused:
        await stored(Vault(key_file=path, cost=2))
    failure = refused.value.failure
    assert failure.status_code == 500
    assert str(path) not in failure.message


async def test_what_an_older_release_stored_in_plain_is_read() -> None:
    options = Options.decode('{"forward":[["x-title","a"],["x-token","b"]]}')
    found = await DirectKeys().opened(options, NAME, None, "any")
    assert found == Opened(options, None)
    assert options.forward == (("x-title", "a"), ("x-token", "b"))


def test_a_callers_key_is_never_written_in_plain() -> None:
    secrets = JobSecrets(FORWARD, KEY, NAME)
    assert JobSecrets.decode(secrets.encode()) == secrets
    assert "canary-4" not in repr(secrets)
    assert not any("direct" in name for name in NO_OPTIONS._fields)


def test_every_callers_key_has_limits_of_its_own() -> None:
    first, second = (KeySettings(HEADER_PROVIDED, HEADER_PROVIDED, Secret(key)) for key in "ab")
    assert pace_of(first) == pace_of(first) != pace_of(second)
    assert pace_of(ORDER) == "main"
    assert pace_of(None) is None
    assert "canary" not in str(pace_of(KeySettings(HEADER_PROVIDED, HEADER_PROVIDED, KEY)))
