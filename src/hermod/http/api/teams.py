"""`/api/governance/teams`"""

from collections.abc import Iterator

from hermod.domain.clock import Clock
from hermod.governance.management import Management
from hermod.governance.wishes import TeamWish
from hermod.http.api.collection import Collection, Things
from hermod.http.api.desk import Desk
from hermod.http.api.show import Shown
from hermod.http.app import Route


def routes(management: Management, desk: Desk, clock: Clock) -> Iterator[Route]:
    """All for administrators."""
    things = Things(
        path="teams",
        one="team",
        many="teams",
        noun="Team",
        every=lambda: tuple(management.book.teams.values()),
        name_of=lambda team: team.name,
        show=Shown.team,
        change=management.update_team,
        remove=management.delete_team,
        wish=TeamWish,
        filters={"customer_id": lambda team: team.customer_id},
    )
    teams = Collection(things, management, desk, clock)
    yield from teams.routes()
    yield teams.making(management.create_team)
