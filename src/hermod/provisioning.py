"""Constructs what follows the providers, which may be made and changed while the gateway runs."""

from collections.abc import Iterator
from functools import partial

from hermod.calls.call import Caller
from hermod.calls.models import ModelLists
from hermod.calls.roster import KnownProviders, Providers, Roster
from hermod.config import Settings
from hermod.config.provider_object import read_object
from hermod.config.shown import shown
from hermod.governance.governor import Governor
from hermod.governance.provider_documents import TYPE
from hermod.governance.providers import ProviderManagement
from hermod.governance.runtime_settings import RuntimeSettings
from hermod.http.api.config import Config
from hermod.http.api.desk import Desk
from hermod.http.api.models import ApiModels
from hermod.http.api.providers import Providers as ProviderRoutes
from hermod.http.app import Route
from hermod.prices.names import bases_of
from hermod.prices.prices import Prices
from hermod.providers.registry import KNOWN_PROVIDERS, load_rows
from hermod.providers.speakers import speakers
from hermod.store.api import Store
from hermod.vault import Vault
from hermod.worker.worker import Worker


class Provisioning:
    """The providers of one process, and who goes by them."""

    def __init__(self, settings: Settings, store: Store, vault: Vault, governor: Governor) -> None:
        read = partial(
            read_object, defaults=settings.hermod, rows=load_rows(), known=KNOWN_PROVIDERS
        )
        self._settings = settings
        self.roster = Roster(
            settings.providers, read, vault, lambda: governor.book.documents_of(TYPE)
        )
        governor.on_change(self.roster.note_change)
        self.known = KnownProviders(KNOWN_PROVIDERS | settings.custom_names, self.roster)
        self._management = ProviderManagement(
            store,
            governor,
            store.clock,
            vault,
            read,
            settings.providers,
            lambda: self.roster.providers,
            self.roster.settled,
        )
        client = settings.client
        self.runtime = RuntimeSettings(
            store, governor, store.clock, client.async_job_result_ttl, client.written
        )
        self._speaks = speakers({**settings.unconfigured, **settings.providers})
        self.roster.on_change(self._speak)

    def tell(self, caller: Caller, models: ModelLists, prices: Prices, worker: Worker) -> None:
        """Have all of them go by what changes."""
        self.roster.on_change(caller.reconfigure)
        self.roster.on_change(models.reconfigure)
        self.roster.on_change(lambda now: prices.reconfigure(bases_of(now.values())))
        self.roster.on_change(
            lambda now: worker.resize({name: each.concurrency for name, each in now.items()})
        )

    def speaks(self, model: str, api: str) -> bool:
        """See `speakers`."""
        return self._speaks(model, api)

    def routes(self, models: ModelLists) -> Iterator[Route]:
        """Those of `/api/providers`, `/api/keys`, `/api/models` and `/api/config`."""
        desk = Desk()
        yield from ProviderRoutes(self._management, desk).routes()
        yield from ApiModels(models).routes()
        yield from Config(shown(self._settings), self.runtime, desk).routes()

    def _speak(self, providers: Providers) -> None:
        self._speaks = speakers({**self._settings.unconfigured, **providers})
