"""The first administrator over HTTP."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.features.admin.views import SOMEONE, AdminUserView
from watchword.identity.first_administrator import PURPOSE, FirstAdministrator
from watchword.identity.showing import Press
from watchword.languages import marked as _
from watchword.web.feature import Link
from watchword.web.route import Anyone, Call, Reply, Route
from watchword.web.views import SOME_LINK


class First(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """What `watchword serve` printed, and the account to make."""

    token: Annotated[str, Meta(description="The token that the service printed at its start.", examples=[SOME_LINK])]
    username: (
        Annotated[str, Meta(description="1 to 64 letters, digits, '.', '_', '-'.", examples=["ada"])] | UnsetType
    ) = UNSET
    email: Annotated[str, Meta(description="An e-mail address.", examples=["ada@example.com"])] | UnsetType = UNSET
    password: Annotated[
        str, Meta(description="At least 8 characters, not a common one.", examples=["plum-orbit-canvas"])
    ]


_FIRST = First(token=SOME_LINK, username="ada", password="plum-orbit-canvas")  # noqa: S106 - an example


class FirstRoutes:
    """Makes the first administrator."""

    def __init__(self, first: FirstAdministrator) -> None:
        self._first = first

    def table(self) -> tuple[Route, ...]:
        """Return the route."""
        return (
            Route(method="POST", path="/admin/first", handler=self.create, access=Anyone(), body=First,
                  summary="Make the first administrator, with what the service printed at its start",
                  answers={201: AdminUserView}, limits=("conflict",), example=_FIRST,
                  shown={201: msgspec.structs.replace(SOMEONE, roles=("admin",))},
                  problems=("one_time_invalid", "conflict", "username_taken", "email_taken", "overloaded")),
        )  # fmt: skip

    def link(self) -> Link:
        """Return the page of the link that is printed, with the same rules. It asks for no address: see the guide."""
        return Link(
            purposes=(PURPOSE,),
            title=_("Make the first administrator"),
            about=_("Choose a name and a password for the account that administers this service."),
            button=_("Make the account"),
            done=_("The account is made. You can close this page and log in with it."),
            act=self._by_link,
            asks="new_password",
            asks_username=True,
        )

    async def _by_link(self, press: Press) -> None:
        await self._first.create(
            press.token, username=press.username, email=None, password=press.new_password, client=press.client
        )

    async def create(self, call: Call) -> Reply:
        """`POST /admin/first`."""
        body: First = call.body
        user = await self._first.create(
            body.token,
            username=None if body.username is UNSET else body.username,
            email=None if body.email is UNSET else body.email,
            password=body.password,
            client=call.client,
        )
        return Reply(AdminUserView.of(user), 201)
