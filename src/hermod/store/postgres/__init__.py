"""The store on PostgreSQL, for any number of gateways and workers on any number of machines."""

from hermod.store.postgres.store import PostgresStore

__all__ = ["PostgresStore"]
