"""`/api/governance/model-configs`: limits of a model for everybody."""

from collections.abc import Iterator

from hermod.domain.clock import Clock
from hermod.governance.management import Management
from hermod.governance.wishes import ModelWish
from hermod.http.api.collection import Collection, Things
from hermod.http.api.desk import Desk
from hermod.http.api.show import Shown
from hermod.http.app import Route


def routes(management: Management, desk: Desk, clock: Clock) -> Iterator[Route]:
    """All for administrators."""
    things = Things(
        path="model-configs",
        one="model_config",
        many="model_configs",
        noun="Model config",
        every=lambda: management.book.model_limits,
        name_of=lambda model: model.model_name,
        show=Shown.model,
        change=management.update_model,
        remove=management.delete_model,
        wish=ModelWish,
        filters={"provider": lambda model: model.provider},
    )
    models = Collection(things, management, desk, clock)
    yield from models.routes()
    yield models.making(management.create_model)
