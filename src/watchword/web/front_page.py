"""`GET /`: who this is and where to go on, as a page for people and as JSON for programs. It tells nothing secret."""

from __future__ import annotations

from html import escape
from typing import Final

import msgspec

from watchword import __version__
from watchword.web.accepting import prefers_page
from watchword.web.feature import Feature
from watchword.web.framed import HTML, STYLE_POLICY, framed, listed
from watchword.web.headers import default_headers, overlaid
from watchword.web.route import Anyone, Call, Header, Reply, Route

_PAGE_HEADERS: Final[tuple[Header, ...]] = tuple(
    overlaid(default_headers(HTML, https=False), (STYLE_POLICY, (b"content-type", HTML.encode())))
)


class Service(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who this is. Links are whole addresses; `version`, `docs` and `openapi` are there where the documentation is, and
    `account` where the pages for people are."""

    name: str
    issuer: str
    metadata: str
    health: str
    problems: str
    version: str | None = None
    docs: str | None = None
    openapi: str | None = None
    account: str | None = None


def feature(public_url: str, *, prefix: str, docs: bool, pages: bool) -> Feature:
    """Return `GET /`, and the same without the slash where there is a prefix.

    :param docs: whether `/docs` is there, which tells the version too.
    :param pages: whether `/account` is there.
    """
    service = _service(public_url.rstrip("/"), docs=docs, pages=pages)
    page = _page(service).encode()

    async def show(call: Call) -> Reply:
        if prefers_page(b",".join(value for name, value in call.scope["headers"] if name == b"accept")):
            return Reply(page, headers=_PAGE_HEADERS)
        return Reply(service)  # nothing of this is stored by a cache, so that none mixes up the two

    def at(path: str, *, documented: bool) -> Route:
        return Route(
            method="GET",
            path=path,
            handler=show,
            access=Anyone(),
            summary="Who this is: a page for people, JSON for programs",
            answers={200: Service},
            shown={200: service},
            page=True,
            documented=documented,
        )

    routes = (at("/", documented=True), *((at("", documented=False),) if prefix else ()))
    return Feature("front", routes, "Who this is, and where to go on.")


def _service(root: str, *, docs: bool, pages: bool) -> Service:
    return Service(
        name="Watchword",
        issuer=root,
        metadata=f"{root}/.well-known/openid-configuration",
        health=f"{root}/healthz",
        problems=f"{root}/problems",
        version=__version__ if docs else None,
        docs=f"{root}/docs" if docs else None,
        openapi=f"{root}/openapi.json" if docs else None,
        account=f"{root}/account" if pages else None,
    )


def _page(service: Service) -> str:
    links = (
        (service.account, "Your account: log in, register, sessions"),
        (service.docs, "Every route, to read and to try"),
        (service.openapi, "The same for programs: the OpenAPI document"),
        (service.health, "Whether the service is well"),
        (service.problems, "What can go wrong, and what to do"),
        (service.metadata, "The discovery document, for clients and APIs"),
    )
    version = f" {escape(service.version)}" if service.version else ""
    return framed(
        service.issuer,
        "Watchword",
        f"<p>Watchword{version} logs users in at <code>{escape(service.issuer)}</code>.</p>"
        + listed(f'<a href="{escape(address)}">{text}</a>' for address, text in links if address is not None),
    )
