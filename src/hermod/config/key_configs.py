"""What a key says beside its value: `azure_key_config`, `bedrock_key_config` and the others."""

import json
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeVar

from hermod.config.addresses import address_fault
from hermod.config.section import NO_ENVIRONMENT, Section
from hermod.domain.provider import AzureKey, BedrockKey, VertexKey

_WITH_URL: Final = ("ollama_key_config", "sgl_key_config", "vllm_key_config")
_LATER: Final = ("bedrock_mantle_key_config", "openai_key_config", "replicate_key_config")
_ALIAS_LATER: Final = (
    "model_name", "model_family", "description", "region", "api_version", "anthropic_version",
    "endpoint", "project_id", "project_number", "force_single_region", "inference_profile_arn",
    "use_deployments_endpoint",
)  # fmt: skip
_REPLICATE: Final = "predictions are made by their models' names"
_OF_KEY: Final = "an alias is a name, its model_id; the rest is said by a key"


class About(NamedTuple):
    """What all of them come to."""

    base_url: str | None
    served: frozenset[str]
    """The model of a server that has only one. It wins over `models: ["*"]`: with several servers,
    each has only its own."""
    aliases: Mapping[str, str]
    azure: AzureKey | None
    bedrock: BedrockKey | None
    vertex: VertexKey | None


def read_key_configs(key: Section) -> About:
    """Everything under a key that belongs to one provider or another."""
    aliases = _names(key, "aliases")
    base_url, served = _address_and_model(key)
    azure = _read(key, "azure_key_config", _azure, aliases)
    bedrock = _read(key, "bedrock_key_config", _bedrock, aliases)
    vertex = _read(key, "vertex_key_config", _vertex, aliases)
    for name in _LATER:
        part = key.section(name)
        aliases |= _names(part, "deployments")
        if name == "openai_key_config":
            part.flag("use_responses_api")
        elif name == "replicate_key_config":
            part.later("use_deployments_endpoint", bool, _REPLICATE, neutral=False)
        else:
            for member in part.members.keys() - {"deployments"}:
                part.ignored_in_each("its adapter comes in a later release", member)
        part.finish()
    return About(
        base_url or (azure.endpoint if azure else None), served, aliases, azure, bedrock, vertex
    )


def address(section: Section, key: str) -> str | None:
    """An address without the slash at its end; None when absent.

    `env.NAME` of an unset variable is a problem here: the default address would get the key.
    """
    written = section.take(key)
    if isinstance(written, str) and written.startswith("env.") and section.source.is_api:
        section.problem(NO_ENVIRONMENT, key)
        return None
    if isinstance(written, str) and written.startswith("env."):
        written = section.source.environ.get(written.removeprefix("env."), "")
        if not written:
            section.problem("the environment variable it names is not set", key)
    elif written is not None:
        written = section.text(key)
    if not written:
        return None
    if fault := address_fault(written):
        section.problem(fault, key)
        return None
    return written.rstrip("/")


_Part = TypeVar("_Part")


def _read(
    key: Section, name: str, read: Callable[[Section], _Part], aliases: dict[str, str]
) -> _Part | None:
    if not key.take(name):
        return None  # a form that was never filled in
    part = key.section(name)
    found = read(part)
    aliases |= _names(part, "deployments")
    part.finish()
    return found


def _azure(part: Section) -> AzureKey:
    return AzureKey(
        endpoint=address(part, "endpoint"),
        api_version=_plain(part, "api_version"),
        client_id=_plain(part, "client_id"),
        client_secret=part.secret("client_secret"),
        tenant_id=_plain(part, "tenant_id"),
        scopes=tuple(part.texts("scopes")),
    )


def _bedrock(part: Section) -> BedrockKey:
    found = BedrockKey(
        access_key=part.secret("access_key"),
        secret_key=part.secret("secret_key"),
        session_token=part.secret("session_token"),
        region=_plain(part, "region") or _region(part),
        arn=_plain(part, "arn"),
        role_arn=_plain(part, "role_arn"),
        external_id=_plain(part, "external_id"),
        role_session_name=_plain(part, "role_session_name") or _plain(part, "session_name"),
    )
    part.later("project_id", str, "Bedrock's projects come in a later release", neutral="")
    part.later("batch_s3_config", dict, "there are no batches", neutral={})
    if bool(found.access_key) != bool(found.secret_key):
        missing = "secret_key" if found.access_key else "access_key"
        part.problem("missing: access_key and secret_key belong together", missing)
    return found


def _region(part: Section) -> str | None:
    """Where AWS's own tools would look."""
    environ = part.source.environ
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")


def _vertex(part: Section) -> VertexKey:
    found = VertexKey(
        project_id=_plain(part, "project_id"),
        project_number=_plain(part, "project_number"),
        region=_plain(part, "region"),
        auth_credentials=part.secret("auth_credentials"),
    )
    part.later("force_single_region", bool, "the region is taken as it is", neutral=False)
    text = found.auth_credentials.reveal()
    if text and not _is_object(text):
        part.problem("is not the JSON of a service account", "auth_credentials")
    return found


def _plain(part: Section, key: str) -> str | None:
    """A text that is no secret, but may stand in the environment like one."""
    return part.secret(key).reveal() or None


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _names(section: Section, key: str) -> dict[str, str]:
    """Models and what they are called: a name, or an object that has it as `model_id`."""
    part = section.section(key)
    found: dict[str, str] = {}
    for name in part.members:
        text = _of_alias(part, name) if isinstance(part.take(name), dict) else part.text(name)
        if text:
            found[name] = text
    part.finish()
    return found


def _of_alias(part: Section, name: str) -> str | None:
    alias = part.section(name)
    text = alias.text("model_id")
    if not text:
        alias.problem("missing: what the model is called there", "model_id")
    said = [member for member in _ALIAS_LATER if alias.has(member)]
    if said:
        alias.ignored(_OF_KEY)
    alias.finish()
    return text


def _address_and_model(key: Section) -> tuple[str | None, frozenset[str]]:
    base_url: str | None = None
    served: frozenset[str] = frozenset()
    for name in _WITH_URL:
        part = key.section(name)
        base_url = address(part, "url") or base_url
        served |= frozenset(filter(None, [part.text("model_name")]))
        part.finish()
    return base_url, served
