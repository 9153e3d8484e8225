"""`GET /openapi.json` and `GET /docs`: Swagger UI, from an installed package's files.

No CDN, no inline script, no foreign validator; `headers.DOCS_POLICY` applies. The package is never imported, only its
files are read (`swagger_ui/static`). Ours are in `web/assets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from watchword.errors import NotFound
from watchword.web.conditional import unless_known
from watchword.web.headers import DOCS_POLICY, public_for
from watchword.web.route import Anyone, Call, Handler, Header, Reply, Route

_PACKAGE = "swagger_ui"
_CSS = "text/css; charset=utf-8"
_SCRIPT = "text/javascript; charset=utf-8"
_FILES = {"swagger-ui.css": _CSS, "swagger-ui-bundle.js": _SCRIPT}
_OURS = {"docs.css": _CSS, "docs.js": _SCRIPT}
_ASSETS = Path(__file__).with_name("assets")
_HTML = "text/html; charset=utf-8"
# Beside the page: relative names work under every prefix and mount point.
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Watchword API</title>
<link rel="icon" type="image/svg+xml" href="icon.svg">
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="stylesheet" href="docs/docs.css">
</head>
<body>
<main id="swagger-ui"><noscript>This page needs JavaScript. The document itself is
<a href="openapi.json">openapi.json</a>.</noscript></main>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/docs.js"></script>
</body>
</html>
"""


class _Asset(NamedTuple):
    content: bytes
    tag: bytes


def document_routes(document: Callable[[], Mapping[str, Any]]) -> tuple[Route, ...]:
    """Return the routes of an OpenAPI document, its page, and the page's files.

    Without the package `swagger-ui-py` there is only the document.

    :param document: makes it, when it is first requested: that is more work than all other routes are.
    """

    @cache
    def written() -> _Asset:
        return _asset(msgspec.json.encode(document()))

    async def show(call: Call) -> Reply:
        return _shown(call, written())

    routes = [_get("/openapi.json", "application/json", show, "The OpenAPI 3.1 document")]
    folder = _folder()
    if folder is None:
        return tuple(routes)
    policy = ((b"content-security-policy", DOCS_POLICY),)
    routes.append(_get("/docs", _HTML, _fixed(_asset(_PAGE.encode()), policy), "This interface, to read and to try"))
    for place, names in ((folder, _FILES), (_ASSETS, _OURS)):
        for name, kind in names.items():
            routes.append(_get(f"/docs/{name}", kind, _from_file(place / name), "A file of the page"))
    return tuple(routes)


def icon_route() -> Route:
    """Return `GET /icon.svg`, for all our pages."""
    return _get("/icon.svg", "image/svg+xml", _from_file(_ASSETS / "icon.svg"), "Our icon")


def _get(path: str, media_type: str, handler: Handler, summary: str) -> Route:
    return Route(
        method="GET",
        path=path,
        handler=handler,
        access=Anyone(),
        summary=summary,
        media_type=media_type,
        documented=False,
    )


def _folder() -> Path | None:
    found = find_spec(_PACKAGE)
    if found is None or not found.submodule_search_locations:
        return None
    folder = Path(found.submodule_search_locations[0]) / "static"
    return folder if all((folder / name).is_file() for name in _FILES) else None


def _asset(content: bytes) -> _Asset:
    return _Asset(content, b'"%b"' % sha256(content).hexdigest()[:32].encode())


@cache
def _read(path: Path) -> _Asset:
    """Read a file once per process, when first requested: the script has 1.5 MB."""
    return _asset(path.read_bytes())


def _fixed(asset: _Asset, headers: tuple[Header, ...] = ()) -> Handler:
    async def show(call: Call) -> Reply:
        return _shown(call, asset, headers)

    return show


def _from_file(path: Path) -> Handler:
    async def show(call: Call) -> Reply:
        try:
            asset = _read(path)
        except OSError as error:
            raise NotFound("This file of Swagger UI is missing.") from error
        return _shown(call, asset)

    return show


def _shown(call: Call, asset: _Asset, headers: tuple[Header, ...] = ()) -> Reply:
    """Return the asset; it is asked for again after ten minutes, since no name carries a version."""
    return unless_known(call, asset.content, asset.tag, (public_for(600), *headers))
