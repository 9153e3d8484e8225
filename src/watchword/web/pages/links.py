"""The pages behind links, in mails and of the first start. To open one changes nothing: scanners open every link.

The button sends a form to the same address. Its path holds the token, which no other site's page knows, and cookies
count only where the browser says that our own page sent the form: so there is nothing that a foreign page could have a
browser do. There a new password makes the browser a known device.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from watchword.errors import InvalidInput, WatchwordError
from watchword.identity.known_devices import KnownDevices, Shown
from watchword.identity.one_time import OneTime
from watchword.identity.showing import Brought, Press
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.feature import Link
from watchword.web.pages.layout import HTML, Look
from watchword.web.problems import answer_headers, problem_of
from watchword.web.route import Anyone, Call, Header, Reply, Route


class Pressed(msgspec.Struct, forbid_unknown_fields=True):
    """What the button sends."""

    username: str = ""
    new_password: str = ""
    password: str = ""


def link_routes(
    links: Sequence[Link],
    one_time: OneTime,
    known_devices: KnownDevices,
    cookie: SessionCookies,
    device: DeviceCookie,
    look: Look,
) -> list[Route]:
    """Return the pages of these links, and their style."""
    pages = LinkPages(links, one_time, known_devices, cookie, device, look)
    path = "/links/{token}"
    return [
        Route(method="GET", path=path, handler=pages.show, access=Anyone(), summary="The page behind a link",
              media_type=HTML, documented=False),
        Route(method="POST", path=path, handler=pages.press, access=Anyone(), summary="Its button", form=Pressed,
              limits=("login", "session"), media_type=HTML, documented=False),
        look.style_route(),
    ]  # fmt: skip


_SHOWN = ("title", "about", "button", "asks", "asks_username")


class LinkPages:
    """Shows the pages, and does what their buttons say."""

    def __init__(
        self,
        links: Sequence[Link],
        one_time: OneTime,
        known_devices: KnownDevices,
        cookie: SessionCookies,
        device: DeviceCookie,
        look: Look,
    ) -> None:
        self._cookie = cookie
        self._known_devices = known_devices
        self._device = device
        self._links = {purpose: link for link in links for purpose in link.purposes}
        self._one_time = one_time
        self._look = look

    async def _link(self, token: str) -> Link | None:
        found = await self._one_time.find(token, tuple(self._links))
        return None if found is None else self._links[found.purpose]

    async def show(self, call: Call) -> Reply:
        """`GET /links/{token}`."""
        link = await self._link(call.params["token"])
        return self._worthless(call) if link is None else self._shown(call, link)

    async def press(self, call: Call) -> Reply:
        """`POST /links/{token}`."""
        token, pressed = call.params["token"], call.body
        link = await self._link(token)
        if link is None:
            return self._worthless(call)
        try:
            who = await link.act(Press(token, pressed.new_password, self._brought(call), call.client, pressed.username))
        except WatchwordError as error:
            status = problem_of(error)[1].status
            if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            faults = tuple(self._look.said(call, each) for each in _faults(error))
            return self._shown(call, link, faults, status, answer_headers(error, status))
        said = self._look.page(call, "said.html", up="../", title=link.title, about=link.done, onward="account/login")
        return said if who is None or not _is_ours(call) else self._remembered(said, call, who)

    def _brought(self, call: Call) -> Brought:
        if not _is_ours(call):
            return Brought(call.body.password)
        return Brought(call.body.password, self._device.shown(call.scope), self._cookie.shown(call.scope))

    def _remembered(self, said: Reply, call: Call, who: Shown) -> Reply:
        known = self._known_devices.remember(self._device.shown(call.scope), who.user_id, who.version)
        return said._replace(headers=(*said.headers, self._device.remember(known)))

    def _shown(
        self,
        call: Call,
        link: Link,
        faults: tuple[str, ...] = (),
        status: int = 200,
        headers: tuple[Header, ...] = (),
    ) -> Reply:
        shown = {name: getattr(link, name) for name in _SHOWN} | {"username": call.body.username if faults else ""}
        return self._look.page(call, "link.html", status=status, headers=headers, up="../", link=shown, faults=faults)

    def _worthless(self, call: Call) -> Reply:
        return self._look.page(call, "worthless.html", status=HTTPStatus.NOT_FOUND, up="../")


def _faults(error: WatchwordError) -> tuple[str, ...]:
    return tuple(each.message for each in error.errors) if isinstance(error, InvalidInput) else (error.message,)


def _is_ours(call: Call) -> bool:
    """Tell whether a browser says that our own page sent this. `Origin` is `null`, since the page sends no referrer."""
    return (b"sec-fetch-site", b"same-origin") in call.scope["headers"]
