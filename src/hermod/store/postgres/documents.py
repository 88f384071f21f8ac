"""Changes of documents, one at a time: whoever makes one locks their revision first."""

from collections.abc import Sequence
from typing import NamedTuple

from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.store.postgres import meters
from hermod.store.postgres.change import Change
from hermod.store.postgres.driver import Row


class Wanted(NamedTuple):
    changes: Sequence[Put | Delete]
    audit: Audit | None
    forget_meters: Sequence[str]


class Unchanged(Exception):
    """A change cannot be made, so that none of its transaction is."""

    def __init__(self, conflict: Conflict) -> None:
        super().__init__(conflict)
        self.conflict = conflict


async def change_documents(change: Change, wanted: Wanted) -> Changed:
    """Make all changes. Raises Unchanged."""
    ((revision,),) = await change.fetch("count_change", 1 if wanted.changes else 0)
    for each in wanted.changes:
        if isinstance(each, Delete):
            if not await change.fetch("delete_document", *each):
                raise Unchanged(Conflict(each.type, each.id, "version"))
        else:
            await _put(change, each.document)
    if wanted.audit is not None:
        await change.fetch("insert_audit", *wanted.audit)
    await meters.forget(change, wanted.forget_meters)
    return Changed(revision)


async def _put(change: Change, document: Document) -> None:
    *own, body, _ = document
    rows = await change.fetch("rivals", *own)
    if what := _conflict(document, rows):
        raise Unchanged(Conflict(document.type, document.id, what))
    await change.fetch("put_document", *own, body)


def _conflict(document: Document, rows: Sequence[Row]) -> str:
    """What is wrong with putting it there, given its rivals; empty when nothing is."""
    there = {(row[0], row[1]): row for row in rows}
    own = there.pop((document.type, document.id), None)
    if (0 if own is None else own[4]) != document.version:
        return "version" if document.version else "id"
    if any((row[0], row[2]) == (document.type, document.name) for row in there.values()):
        return "name"
    return "secret" if there else ""


def read(rows: Sequence[Row]) -> tuple[int, tuple[Document, ...]]:
    """The rows of `read_documents`: without any document there is one, with the revision."""
    return rows[0][0], tuple(Document(*tuple(row)[1:]) for row in rows if row[1] is not None)


def are_made(changes: Sequence[Put | Delete], documents: Sequence[Document]) -> bool:
    """Whether the documents are what these changes would make of them."""
    there = {(document.type, document.id): document for document in documents}
    return bool(changes) and all(
        (each.type, each.id) not in there
        if isinstance(each, Delete)
        else there.get((each.document.type, each.document.id))
        == each.document._replace(version=each.document.version + 1)
        for each in changes
    )
