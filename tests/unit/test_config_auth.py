"""Who is let in: admins, tokens, and the rules of a safe start (reliability.md S8)."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hermod.domain.jwt import ClaimNames, JwtIssuer
from tests.support.config import TOKEN, problems, read

LOGIN: dict[str, Any] = {
    "admin_username": "root",
    "admin_password": "env.PASSWORD",
    "is_enabled": True,
}
PASSWORD = {"PASSWORD": "long enough"}
ABROAD = {"host": "0.0.0.0"}
PEM = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"
PRIVATE = PEM.replace("PUBLIC", "PRIVATE")
SECRET = {"JWT_SECRET": "0123456789abcdef0123456789abcdef"}


def issuer(**more: object) -> dict[str, object]:
    """One without a fault."""
    usual = {"issuer": "https://idp.example/", "audience": "gateway"}
    return {**usual, "jwks_url": "https://idp.example/keys", **more}


def shared(**more: object) -> dict[str, object]:
    """One with a shared secret."""
    return {"issuer": "us", "audience": "gateway", "secret": "env.JWT_SECRET", **more}


def with_issuers(*issuers: object) -> dict[str, object]:
    return {"hermod": {"auth": {"jwt": {"issuers": list(issuers)}}}}


# The switch for callers


@pytest.mark.parametrize(
    "config",
    [
        {"client": {"enforce_auth_on_inference": True}},
        {"client": {"enforce_governance_header": True}},
        {"client": {"enforce_scim_auth": True}},
        {"plugins": [{"name": "governance", "enabled": True, "config": {"is_vk_mandatory": True}}]},
        {"governance": {"auth_config": LOGIN}},
        {"auth_config": LOGIN},
    ],
)
def test_calls_need_a_credential_where_the_file_asks_for_it(tmp_path: Path, config: object) -> None:
    loaded = read(tmp_path, config, {**PASSWORD, **TOKEN})
    assert loaded.settings.enforced
    assert loaded.warnings == ()


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"client": {"enforce_auth_on_inference": False}},
        {"governance": {"auth_config": {**LOGIN, "is_enabled": False}}},
        {"governance": {"auth_config": {**LOGIN, "disable_auth_on_inference": True}}},
        {
            "plugins": [
                {"name": "governance", "enabled": False, "config": {"is_vk_mandatory": True}}
            ]
        },
        {"plugins": [{"name": "governance"}, 3]},
    ],
)
def test_calls_need_none_on_loopback_else(tmp_path: Path, config: object) -> None:
    assert not read(tmp_path, config, PASSWORD).settings.enforced


def test_calls_always_need_one_elsewhere(tmp_path: Path) -> None:
    assert read(tmp_path, {}, TOKEN, ABROAD).settings.enforced


ASKING = {"client": {"enforce_auth_on_inference": True}}


@pytest.mark.parametrize(
    "config",
    [
        ASKING,
        {**ASKING, **with_issuers(issuer())},
        {**ASKING, "auth_config": {**LOGIN, "is_enabled": False}},
    ],
)
def test_a_gateway_that_nobody_can_manage_is_warned_of(tmp_path: Path, config: object) -> None:
    (warning,) = read(tmp_path, config, PASSWORD).warnings
    assert warning == (
        "nobody can use /api/*: calls need a credential, and no admin has one: set "
        "HERMOD_ADMIN_TOKEN to a secret of your own"
    )


@pytest.mark.parametrize(
    ("config", "environ", "flags"),
    [
        ({}, {}, {}),
        (ASKING, TOKEN, {}),
        (ASKING, {}, {"role": "worker"}),
        ({**ASKING, "auth_config": LOGIN}, PASSWORD, {}),
        ({**ASKING, **with_issuers(issuer(admin={"role": "boss"}))}, {}, {}),
        ({**ASKING, **with_issuers(issuer(admin={"scope": ["boss"]}))}, {}, {}),
    ],
)
def test_who_can_be_managed_is_not_warned_of(
    tmp_path: Path, config: object, environ: dict[str, str], flags: dict[str, str]
) -> None:
    assert read(tmp_path, config, environ, flags).warnings == ()


# The login of an admin


def test_the_login_is_read(tmp_path: Path) -> None:
    auth = read(tmp_path, {"governance": {"auth_config": LOGIN}}, PASSWORD).settings.auth
    assert (auth.admin_username, auth.admin_password.reveal()) == ("root", "long enough")
    assert auth.admin_enabled
    assert auth.auth_on_inference


@pytest.mark.parametrize(
    ("login", "says"),
    [
        ({"is_enabled": True, "admin_password": "a password"}, "admin_username: missing"),
        ({"is_enabled": True, "admin_username": "root"}, "admin_password: missing"),
        ({**LOGIN, "admin_username": "a:b"}, "admin_username: a name with a colon"),
    ],
)
def test_a_login_that_nobody_can_use_is_a_problem(
    tmp_path: Path, login: dict[str, Any], says: str
) -> None:
    (problem,) = problems(tmp_path, {"auth_config": login}, PASSWORD)
    assert says in problem


def test_a_password_whose_variable_is_not_set_is_none(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, {"auth_config": LOGIN})
    assert "admin_password: missing" in problem


def test_a_login_is_secret_enough_for_any_address(tmp_path: Path) -> None:
    config = {"governance": {"auth_config": LOGIN}}
    assert not read(tmp_path, config, PASSWORD, ABROAD).settings.loopback


def test_a_login_that_is_off_is_no_secret(tmp_path: Path) -> None:
    config = {"governance": {"auth_config": {**LOGIN, "is_enabled": False}}}
    (problem,) = problems(tmp_path, config, PASSWORD, ABROAD)
    assert "can be reached from other machines" in problem


def test_a_short_password_is_warned_of_on_loopback_and_refused_elsewhere(tmp_path: Path) -> None:
    config, short = {"governance": {"auth_config": LOGIN}}, {"PASSWORD": "1234567"}
    (warning,) = read(tmp_path, config, short).warnings
    (problem,) = problems(tmp_path, config, {**short, **TOKEN}, ABROAD)
    for text in (warning, problem):
        assert "admin_password: 8 characters at least" in text
        assert "1234567" not in text


def test_calls_without_a_credential_are_refused_to_start_elsewhere(tmp_path: Path) -> None:
    config = {"governance": {"auth_config": {**LOGIN, "disable_auth_on_inference": True}}}
    (problem,) = problems(tmp_path, config, {**PASSWORD, **TOKEN}, ABROAD)
    assert "disable_auth_on_inference: would let everybody call" in problem
    enforced = {**config, "client": {"enforce_auth_on_inference": True}}
    assert read(tmp_path, enforced, {**PASSWORD, **TOKEN}, ABROAD).settings.enforced
    assert read(tmp_path, config, PASSWORD, {**ABROAD, "role": "worker"})


def test_a_login_that_any_website_may_use_is_warned_of(tmp_path: Path) -> None:
    config = {"client": {"allowed_origins": ["*"]}, "auth_config": LOGIN}
    (warning,) = read(tmp_path, config, PASSWORD).warnings
    assert "client.allowed_origins: any website may use the gateway" in warning


# Tokens


def test_an_issuer_has_careful_defaults(tmp_path: Path) -> None:
    auth = read(tmp_path, with_issuers(issuer())).settings.auth
    assert auth.jwt_issuers == (
        JwtIssuer(
            issuer="https://idp.example/",
            audience=("gateway",),
            algorithms=("RS256", "ES256"),
            jwks_url="https://idp.example/keys",
        ),
    )
    assert (auth.own_issuer, auth.own_audience) == ("hermod", "hermod")
    assert auth.token_life_s == 90 * 86_400
    assert auth.jwt.issuers == auth.jwt_issuers


def test_everything_an_issuer_may_say_is_read(tmp_path: Path) -> None:
    written = shared(
        audience=["a", "b"],
        algorithms=["HS384"],
        leeway_seconds=5,
        max_lifetime="2w",
        claims={"virtual_key": "key", "tenant": ["org"], "role": "r", "scope": ["s1", "s2"]},
        admin={"role": "boss", "scope": ["admin"]},
    )
    (found,) = read(tmp_path, with_issuers(written), SECRET).settings.auth.jwt_issuers
    assert found.audience == ("a", "b")
    assert found.algorithms == ("HS384",)
    assert (found.leeway_s, found.max_lifetime_s) == (5, 14 * 86_400)
    assert found.claims == ClaimNames(("key",), ("org",), ("r",), ("s1", "s2"))
    assert (found.admin_roles, found.admin_scopes) == (("boss",), ("admin",))
    assert found.secret.reveal() == SECRET["JWT_SECRET"]


def test_our_own_tokens_are_said_beside_them(tmp_path: Path) -> None:
    config = {"hermod": {"auth": {"issuer": "gw", "audience": "them", "token_life": "12h"}}}
    auth = read(tmp_path, config).settings.auth
    assert (auth.own_issuer, auth.own_audience, auth.token_life_s) == ("gw", "them", 43_200)


def test_keys_may_stand_in_files_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "idp.pem").write_text(PEM, "utf-8")
    jwks = json.dumps({"keys": [{"kty": "RSA", "n": "x", "e": "AQAB"}]})
    (tmp_path / "idp.json").write_text(jwks, "utf-8")
    one = issuer(jwks_url=None, public_key="idp.pem")
    two = issuer(issuer="b", jwks_url=None, jwks_file="idp.json")
    three = issuer(issuer="c", jwks_url=None, public_key="env.PEM")
    found = read(tmp_path, with_issuers(one, two, three), {"PEM": PEM}).settings.auth.jwt_issuers
    assert [(each.public_key, each.jwks) for each in found] == [(PEM, ""), ("", jwks), (PEM, "")]


def test_new_keys_are_made_like_a_template(tmp_path: Path) -> None:
    config = with_issuers(issuer(unmapped="auto_register", template="like-this"))
    (warning,) = read(tmp_path, config).warnings
    assert "issuers[0].template: no virtual key of this file has that id or name" in warning
    key = {"name": "like-this", "value": "sk-bf-a-long-enough-value"}
    config["governance"] = {"virtual_keys": [key]}
    (found,) = read(tmp_path, config).settings.auth.jwt_issuers
    assert (found.unmapped, found.template) == ("auto_register", "like-this")


WRONG: list[tuple[dict[str, object], str]] = [
    (issuer(issuer=""), "issuer: missing"),
    (issuer(audience=None), "audience: missing"),
    (issuer(audience=[]), "audience: missing"),
    (issuer(audience=["a", ""]), "audience: missing"),
    (issuer(jwks_url=None), "exactly one of jwks_url, jwks_file, public_key, secret"),
    (issuer(public_key=PEM), "has 2 of them: exactly one of"),
    (issuer(secret="env.JWT_SECRET"), "has 2 of them: exactly one of"),
    (issuer(algorithms=["none"]), "algorithms[0]: a token without a signature"),
    (issuer(algorithms=["RS256", "HS256"]), "algorithms[1]: HS… is for a shared secret"),
    (issuer(algorithms=["RS265"]), 'did you mean "RS256"?'),
    (issuer(algorithms=[]), "algorithms: names none"),
    (shared(algorithms=["RS256"]), "algorithms[0]: is for public keys"),
    (shared(secret="0123456789abcdef0123456789abcde"), "secret: needs 32 bytes at least"),
    (shared(secret="env.NOT_SET"), "secret: needs 32 bytes at least"),
    (issuer(jwks_url="http://idp.example/keys"), "jwks_url: whoever is on the way"),
    (issuer(jwks_url="idp.example/keys"), "jwks_url: expected an address"),
    (issuer(jwks_url=None, public_key=PRIVATE), "public_key: is a private key"),
    (issuer(jwks_url=None, public_key="gone.pem"), "public_key: the file it names cannot be read"),
    (issuer(jwks_url=None, jwks_file="gone.json"), "jwks_file: the file it names cannot be read"),
    (issuer(jwks_url=None, jwks_file="empty.json"), "jwks_file: expected a JSON Web Key Set"),
    (issuer(jwks_url=None, jwks_file="private.json"), "jwks_file: holds a private key or a secret"),
    (issuer(unmapped="auto_register"), "template: missing"),
    (issuer(unmapped="invent"), "unmapped: expected reject or auto_register"),
    (issuer(max_lifetime="a year"), "max_lifetime: expected seconds, or a duration"),
    (issuer(max_lifetime="1s"), "max_lifetime: expected seconds, or a duration"),
    (issuer(leeway_seconds=3600), "leeway_seconds: expected a number from 0 to 600"),
]


@pytest.mark.parametrize(("written", "says"), WRONG)
def test_what_is_unsafe_about_an_issuer_stops_the_start(
    tmp_path: Path, written: dict[str, object], says: str
) -> None:
    (tmp_path / "empty.json").write_text('{"keys": []}', "utf-8")
    (tmp_path / "private.json").write_text('{"keys": [{"kty": "RSA", "d": "x"}]}', "utf-8")
    (problem,) = problems(tmp_path, with_issuers(written), SECRET)
    assert problem.startswith("config.json:1:")
    assert says in problem
    assert SECRET["JWT_SECRET"][:31] not in problem


@pytest.mark.parametrize(
    "more",
    [
        {"jwks_url": "http://127.0.0.1:9/keys"},
        {"jwks_url": "http://[::1]:9/keys"},
        {"jwks_url": "http://idp.inside/keys", "allow_insecure": True},
    ],
)
def test_keys_come_over_plain_http_from_here_or_when_that_is_meant(
    tmp_path: Path, more: dict[str, object]
) -> None:
    assert read(tmp_path, with_issuers(issuer(**more))).warnings == ()


@pytest.mark.parametrize(
    "config",
    [
        with_issuers(issuer(), issuer()),
        with_issuers(issuer(issuer="hermod")),
    ],
)
def test_every_issuer_is_one(tmp_path: Path, config: object) -> None:
    (problem,) = problems(tmp_path, config)
    assert "a token must have one" in problem


# Files that others can read


@pytest.fixture
def shared_dir() -> Iterator[Path]:
    """A directory that every user of this machine can enter."""
    # Its own folder must be open to all as well, which only this one is for sure.
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_secrets_in_a_file_that_others_can_read_are_warned_of(shared_dir: Path) -> None:
    config = {"auth_config": {**LOGIN, "admin_password": "written here"}}
    read(shared_dir, config)
    file = shared_dir / "config.json"
    file.chmod(0o644)
    first, second = read(shared_dir).warnings
    assert first == (
        f"{file} holds secrets, and every user of this machine can read it: chmod o-r {file}, or "
        'write "env.NAME" instead'
    )
    assert "auth_config.admin_password: the password of the admin, and every user" in second
    file.chmod(0o640)
    assert read(shared_dir).warnings == ()


def test_a_file_without_secrets_may_be_read_by_all(shared_dir: Path) -> None:
    read(shared_dir, {"auth_config": LOGIN}, PASSWORD)
    (shared_dir / "config.json").chmod(0o644)
    assert read(shared_dir, environ=PASSWORD).warnings == ()


@pytest.mark.parametrize("name", ["hermod.db", "encryption.key"])
def test_data_that_others_can_read_is_warned_of(shared_dir: Path, name: str) -> None:
    file = shared_dir / name
    file.touch()
    file.chmod(0o644)
    (warning,) = read(shared_dir).warnings
    assert warning == f"{file} can be read by every user of this machine: chmod o-r {file}"


def test_a_directory_that_others_cannot_enter_hides_what_is_in_it(shared_dir: Path) -> None:
    (shared_dir / "hermod.db").touch()
    (shared_dir / "hermod.db").chmod(0o644)
    shared_dir.chmod(0o700)
    assert read(shared_dir).warnings == ()
