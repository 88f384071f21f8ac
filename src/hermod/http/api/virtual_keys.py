"""`/api/governance/virtual-keys`"""

from collections.abc import Iterator

from hermod.domain.clock import Clock
from hermod.domain.errors import HermodError, Refused, StoreError, bad_request
from hermod.domain.failure import Failure
from hermod.domain.governance import VirtualKey
from hermod.domain.wire_time import rfc3339
from hermod.governance.issuer import Issuer
from hermod.governance.management import Management
from hermod.governance.wishes import KeyWish, TokenWish
from hermod.http.api.collection import ROOT, Collection, Things
from hermod.http.api.desk import Desk, answer, subject_of
from hermod.http.api.show import Shown
from hermod.http.app import Route
from hermod.http.message import Request, Response


class VirtualKeys:
    """What virtual keys have beyond other things: a value, and tokens that stand for it."""

    def __init__(
        self,
        management: Management,
        desk: Desk,
        clock: Clock,
        issuer: Issuer,
        token_life_s: float,
    ) -> None:
        """`token_life_s`: of tokens for which nobody says how long they shall be good."""
        things: Things[VirtualKey, KeyWish] = Things(
            path="virtual-keys",
            one="virtual_key",
            many="virtual_keys",
            noun="Virtual key",
            every=lambda: tuple(management.book.keys.values()),
            name_of=lambda key: key.name,
            show=Shown.key,
            change=management.update_key,
            remove=management.delete_key,
            wish=KeyWish,
            filters={
                "customer_id": lambda key: key.customer_id,
                "team_id": lambda key: key.team_id,
            },
        )
        self._keys = Collection(things, management, desk, clock)
        self._management = management
        self._desk = desk
        self._clock = clock
        self._issuer = issuer
        self._token_life_s = token_life_s

    def routes(self) -> Iterator[Route]:
        """All for administrators."""
        yield from self._keys.routes()
        yield Route("POST", f"{ROOT}/virtual-keys", self.create)
        yield Route("POST", f"{ROOT}/virtual-keys/{{id}}/rotate", self.rotate)
        yield Route("POST", f"{ROOT}/virtual-keys/{{id}}/token", self.token)

    async def create(self, request: Request) -> Response:
        """`POST …`: the only answer that has the whole value. Raises Refused (400, 409)."""
        wish = await self._desk.read(request, KeyWish)
        made = await self._management.create_key(wish, subject_of(request))
        return await self._keys.told("created", made.key, value=made.value)

    async def rotate(self, request: Request) -> Response:
        """`POST …/{id}/rotate`: another value; the old one is dead. Raises Refused (404, 409)."""
        made = await self._management.rotate_key(request.argument, subject_of(request))
        return await self._keys.told("rotated", made.key, value=made.value)

    async def token(self, request: Request) -> Response:
        """`POST …/{id}/token`: a JWT that stands for the key. Raises Refused (400, 404)."""
        key = self._keys.found(request.argument)
        wish = await self._desk.read(request, TokenWish, may_be_empty=True)
        life_s = wish.expires_in or self._token_life_s
        now = self._clock.now()
        try:
            token = await self._issuer.token_for(key, life_s, now)
        except ValueError as error:
            raise bad_request(str(error)) from None
        except (Refused, StoreError):
            raise
        except HermodError as error:  # the vault's: there is nothing to seal or open with
            failure = Failure(f"no token can be signed: {error}", status_code=500)
            raise Refused(failure) from error
        await self._management.note("virtual_key.token", key.id, subject_of(request))
        expires_at = now + int(life_s) * 1_000_000
        return answer(
            {
                "message": "Token created successfully",
                "token": token,
                "token_type": "Bearer",
                "expires_at": rfc3339(expires_at),
            }
        )
