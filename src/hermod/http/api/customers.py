"""`/api/governance/customers`"""

from collections.abc import Iterator

from hermod.domain.clock import Clock
from hermod.governance.management import Management
from hermod.governance.wishes import CustomerWish
from hermod.http.api.collection import Collection, Things
from hermod.http.api.desk import Desk
from hermod.http.api.show import Shown
from hermod.http.app import Route


def routes(management: Management, desk: Desk, clock: Clock) -> Iterator[Route]:
    """All for administrators."""
    things = Things(
        path="customers",
        one="customer",
        many="customers",
        noun="Customer",
        every=lambda: tuple(management.book.customers.values()),
        name_of=lambda customer: customer.name,
        show=Shown.customer,
        change=management.update_customer,
        remove=management.delete_customer,
        wish=CustomerWish,
    )
    customers = Collection(things, management, desk, clock)
    yield from customers.routes()
    yield customers.making(management.create_customer)
