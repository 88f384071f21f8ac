"""`/api/governance/providers`: limits of a provider for everybody. They are made by PUT."""

from collections.abc import Iterator

from hermod.domain.clock import Clock
from hermod.governance.management import Management
from hermod.governance.wishes import ProviderWish
from hermod.http.api.collection import Collection, Things
from hermod.http.api.desk import Desk
from hermod.http.api.show import Shown
from hermod.http.app import Route


def routes(management: Management, desk: Desk, clock: Clock) -> Iterator[Route]:
    """All for administrators."""
    things = Things(
        path="providers",
        one="provider",
        many="providers",
        noun="Provider governance",
        every=lambda: tuple(
            each
            for each in management.book.limited_providers.values()
            if each.budget or each.rate_limit
        ),
        name_of=lambda provider: provider.id,
        show=Shown.provider,
        change=management.put_provider,
        remove=management.delete_provider,
        wish=ProviderWish,
    )
    yield from Collection(things, management, desk, clock).routes()
