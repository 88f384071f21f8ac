"""governance/documents.py: what governs, as the store keeps it."""

from dataclasses import replace

import msgspec
import pytest

from hermod.domain.document import Document
from hermod.domain.governance import Customer, Entity, ModelLimits, ProviderLimits, Team
from hermod.governance.documents import ENTITIES, to_document, to_entity
from tests.governance.entities import budget, config, key, rate_limit

EVERY: list[Entity] = [
    key(
        config(
            "openai", "*", "regex:x", budget=budget("b2"), weight=None, blacklisted_models=("y",)
        ),
        description="ключ",
        secret_hash="ab" * 32,
        expires_at=1_760_000_000_000_000,
        team_id="t",
        budget=budget(reset_duration="1M", calendar_aligned=True),
        rate_limit=rate_limit(),
        max_parallel_jobs=2,
        on_limit="reject",
    ),
    Team(id="t", name="team", customer_id="c", created_at=1, updated_at=2),
    Customer(id="c", name="customer", rate_limit=rate_limit(tokens=None)),
    ModelLimits(id="m", model_name="gpt-4o", provider="openai", budget=budget()),
    ProviderLimits(id="openai", budget=budget()),
]
TEAM = to_document(EVERY[1])


@pytest.mark.parametrize("entity", EVERY, ids=lambda entity: type(entity).__name__)
def test_an_entity_reads_as_it_was_written(entity: Entity) -> None:
    document = to_document(entity, 3)
    assert document.version == 3
    assert document.id == entity.id
    assert to_entity(document) == entity


def test_every_entity_has_a_type_of_its_own() -> None:
    assert {to_document(entity).type for entity in EVERY} == set(ENTITIES)


@pytest.mark.parametrize(
    ("entity", "name"),
    [
        (EVERY[0], "first"),
        (EVERY[1], "team"),
        (EVERY[3], "openai/gpt-4o"),
        (ModelLimits(id="m", model_name="gpt-4o"), "*/gpt-4o"),
        (EVERY[4], "openai"),
    ],
)
def test_names_are_what_may_exist_once(entity: Entity, name: str) -> None:
    assert to_document(entity).name == name


def test_only_a_key_with_a_value_is_found_by_it() -> None:
    assert to_document(EVERY[0]).secret_hash == "ab" * 32
    assert to_document(key()).secret_hash is None
    assert TEAM.secret_hash is None


def test_members_of_newer_releases_are_passed_over() -> None:
    members = msgspec.json.decode(TEAM.body) | {"colour": "blue"}
    assert to_entity(TEAM._replace(body=msgspec.json.encode(members))) == EVERY[1]


def test_members_of_older_releases_have_their_defaults() -> None:
    document = Document("virtual_key", "k", "first", None, b'{"id":"k","name":"first"}')
    assert to_entity(document) == replace(key(), provider_configs=())


@pytest.mark.parametrize(
    "document",
    [
        TEAM._replace(body=b""),
        TEAM._replace(body=TEAM.body[:-5]),
        TEAM._replace(body=b"\xff\xfe"),
        TEAM._replace(body=b"[]"),
        TEAM._replace(body=b'{"id":"t"}'),
        TEAM._replace(body=b'{"id":"t","name":7}'),
        TEAM._replace(id="another"),
        TEAM._replace(type="session"),
        TEAM._replace(type="of a newer release"),
    ],
)
def test_what_cannot_be_read_is_a_value_error(document: Document) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        to_entity(document)
