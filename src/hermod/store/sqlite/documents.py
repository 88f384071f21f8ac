"""Changes of documents, inside a transaction."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from hermod.domain.document import Audit, Changed, Conflict, Delete, Document, Put
from hermod.store.sqlite.transaction import Transaction

REVISION: Final = "documents_revision"
"""The name in `meta`."""


class Change(NamedTuple):
    changes: tuple[Put | Delete, ...]
    audit: Audit | None
    forget_meters: tuple[str, ...]


def change_documents(tx: Transaction, calls: Sequence[Change]) -> list[Changed | Conflict]:
    return [_change(tx, call) for call in calls]


def _change(tx: Transaction, call: Change) -> Changed | Conflict:
    # The group commits together: what is not to happen must be taken back by itself.
    tx.run("begin_changes", ())
    for change in call.changes:
        conflict = _delete(tx, change) if isinstance(change, Delete) else _put(tx, change.document)
        if conflict is not None:
            tx.run("undo_changes", ())
            tx.run("keep_changes", ())
            return conflict
    tx.run("keep_changes", ())
    if call.changes:
        tx.run("count_change", (REVISION,))
    if call.audit is not None:
        tx.run("insert_audit", call.audit)
    for meter_id in call.forget_meters:
        tx.run("forget_meter", (meter_id,))
        tx.run("empty_meter", (meter_id,))
    return Changed(int(tx.rows("get_meta", (REVISION,))[0][0]))


def _delete(tx: Transaction, change: Delete) -> Conflict | None:
    if tx.rows("delete_document", change):
        return None
    return Conflict(change.type, change.id, "version")


def _put(tx: Transaction, document: Document) -> Conflict | None:
    type_, id_, name, secret_hash, body, version = document
    there = _version(tx, type_, id_)
    if there != version:
        return Conflict(type_, id_, "version" if version else "id")
    if tx.rows("document_named", (type_, name, id_)):
        return Conflict(type_, id_, "name")
    if secret_hash is not None and tx.rows("document_with_secret", (secret_hash, type_, id_)):
        return Conflict(type_, id_, "secret")
    if there:
        tx.run("update_document", (name, secret_hash, body, type_, id_))
    else:
        tx.run("insert_document", (type_, id_, name, secret_hash, body))
    return None


def _version(tx: Transaction, type_: str, id_: str) -> int:
    """Of the document that is stored; 0 when there is none."""
    rows = tx.rows("document_there", (type_, id_))
    return rows[0][0] if rows else 0
