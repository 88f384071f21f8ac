"""governance/book.py: looking things up."""

from dataclasses import replace

import pytest

from hermod.domain.document import Document
from hermod.domain.governance import Customer, Entity, ModelLimits, ProviderLimits, Team
from hermod.governance.book import Book
from hermod.governance.documents import to_document
from tests.governance.entities import budget, key

KEY = key(secret_hash="h1")
TEAM = Team(id="t", name="team")
CUSTOMER = Customer(id="c", name="customer")


def test_a_key_is_found_by_its_id_and_by_its_value() -> None:
    book = Book([KEY, key(id="other", name="other")])
    assert book.key("k") is book.key_by_hash("h1") is KEY
    assert book.key("h1") is book.key_by_hash("k") is None


def test_a_key_without_a_value_is_found_by_none() -> None:
    assert Book([key()]).key_by_hash("") is None


def test_each_type_has_its_own_ids() -> None:
    limits = ProviderLimits(id="c", budget=budget())
    model = ModelLimits(id="c", model_name="m")
    book = Book([TEAM, CUSTOMER, limits, model])
    assert (book.team("t"), book.customer("c")) == (TEAM, CUSTOMER)
    assert (book.team("c"), book.customer("t"), book.key("t")) == (None, None, None)
    assert (book.provider_limits("c"), book.model_limits) == (limits, (model,))


def test_it_cannot_be_changed() -> None:
    book = Book([KEY])
    with pytest.raises(TypeError):
        book.keys["k"] = KEY  # type: ignore[index]


def test_what_the_file_defines_is_known_to_be_its() -> None:
    book = Book([TEAM], from_file=[KEY])
    assert book.is_from_file("virtual_key", "k")
    assert not book.is_from_file("team", "t")
    assert not book.is_from_file("team", "k")


@pytest.mark.parametrize(
    "stored",
    [
        key(name="another name", budget=budget()),
        key(id="another id"),
        key(id="another id", name="another name", secret_hash="h1"),
    ],
    ids=["id", "name", "secret"],
)
def test_the_file_counts_over_the_store(stored: Entity) -> None:
    book = Book([stored, TEAM], from_file=[KEY])
    assert dict(book.keys) == {"k": KEY}
    assert book.key_by_hash("h1") is KEY
    assert book.hidden == (stored,)
    assert book.team("t") is TEAM


def test_what_is_alike_but_of_another_type_is_not_hidden() -> None:
    book = Book([Team(id="k", name="first")], from_file=[KEY])
    assert book.hidden == ()
    assert book.team("k") is not None


def test_documents_are_there_with_their_versions() -> None:
    session = Document("session", "s", "s", "hash", b"{}", 1)
    stored = to_document(TEAM, 7)
    book = Book([TEAM], documents=[session, stored, to_document(KEY, 2)], revision=9)
    assert book.revision == 9
    assert book.document("team", "t") == stored
    assert book.document("team", "s") is None
    assert book.documents_of("session") == (session,)
    assert book.documents_of("signing_key") == ()


@pytest.mark.parametrize(
    ("entities", "stranded"),
    [
        ([key(), TEAM, CUSTOMER], False),
        ([key(team_id="t"), TEAM], False),
        ([key(customer_id="c"), CUSTOMER], False),
        ([key(team_id="t"), replace(TEAM, customer_id="c"), CUSTOMER], False),
        ([key(team_id="t")], True),
        ([key(customer_id="c"), TEAM], True),
        ([key(team_id="c"), TEAM, CUSTOMER], True),
        ([key(team_id="t"), replace(TEAM, customer_id="c")], True),
        ([key(team_id="t", customer_id="x"), TEAM], True),
    ],
)
def test_keys_of_a_team_or_a_customer_that_is_not_there_are_told(
    entities: list[Entity], stranded: bool
) -> None:
    assert Book(entities).stranded == ({"k"} if stranded else set())
    assert Book(from_file=entities).stranded == ({"k"} if stranded else set())
