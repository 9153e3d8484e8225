"""The application: its features, `Watchword` as an ASGI application, its dispatcher."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from watchword.background import in_background
from watchword.clock import Clock, SystemClock
from watchword.identity.kernel import Kernel
from watchword.opening import opened
from watchword.settings import Settings, load
from watchword.tokens.claims import AccessClaims

if TYPE_CHECKING:  # imported when the application starts
    from watchword.web.dispatch import Dispatcher
    from watchword.web.feature import Feature


def features(kernel: Kernel) -> tuple[Feature, ...]:
    """List what the product does. Without one of them the rest still works."""
    from watchword.features import accounts, health, oauth, passwords, proxy, revocations, sessions
    from watchword.web import front_page
    from watchword.web.cookies import RefreshCookie

    settings = kernel.settings
    cookie = RefreshCookie(settings.public_url)
    return (
        accounts.feature(kernel, cookie),
        passwords.feature(kernel, cookie),
        sessions.feature(kernel, cookie),
        oauth.feature(kernel),
        revocations.feature(kernel),
        proxy.feature(),
        health.feature(kernel),
        front_page.feature(settings.public_url, prefix=settings.path_prefix, docs=settings.docs),
    )


def from_environment() -> Watchword:
    """Return the service as the environment configures it, for your own ASGI server."""
    return Watchword(load({}, os.environ, Path.cwd()).settings)


class Watchword:
    """The service as an ASGI application, on its own or mounted in yours.

        auth = Watchword(Settings(public_url="https://example.com/auth"))
        app = FastAPI(lifespan=auth.lifespan)
        app.mount("/auth", auth)

    Mount it at the path of the public URL. It reads no environment; `from_environment` does. Mounted applications get
    no lifespan events: inside a lifespan of yours, write `async with auth.lifespan(app):` around its `yield`.
    """

    def __init__(self, settings: Settings | None = None, *, clock: Clock | None = None) -> None:
        from starlette.routing import Router

        self.settings = settings or Settings()
        self._clock = clock or SystemClock()
        self._started = False
        self._kernel: Kernel | None = None
        self._dispatcher: Dispatcher | None = None
        self._lifespan_protocol = Router(lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            if self._dispatcher is None:
                raise RuntimeError(_NOT_STARTED)
            await self._dispatcher(self._unmounted(scope), receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan_protocol(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    def _unmounted(self, scope: Scope) -> Scope:
        """Put the mount's path back: our routes stand under the path of the public URL."""
        prefix, root = self.settings.path_prefix, scope.get("root_path", "")
        if not prefix or not root.endswith(prefix):
            return scope
        return {**scope, "root_path": root.removesuffix(prefix), "path": _whole_path(root, scope["path"])}

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:  # noqa: ARG002 - frameworks pass it
        """Open the database, serve, close it. Raises `SettingsError` and `StorageError`.

        :param app: unused; frameworks pass it.
        """
        if self._started:
            raise RuntimeError(_STARTED)
        self._started = True  # before the first await, where another could begin
        try:
            async with opened(self.settings, clock=self._clock) as kernel, in_background(kernel):
                self._kernel, self._dispatcher = kernel, dispatcher(kernel)
                try:
                    yield
                finally:
                    kernel.feed.stop()
                    self._kernel = self._dispatcher = None
        finally:
            self._started = False

    def verify(self, token: str) -> AccessClaims:
        """Return the claims of a valid access token, for `Guard.local`. Raises `TokenError`."""
        if self._kernel is None:
            raise RuntimeError(_NOT_STARTED)
        return self._kernel.verifier.verify(token)

    def refuse_readiness(self) -> None:
        """Answer 503 at `/readyz` from now on, so balancers leave before the server stops."""
        if self._kernel is not None:
            self._kernel.stopping.set()

    def stop_waiting(self) -> None:
        """Answer requests that wait for the feed: a stopping server waits for them."""
        if self._kernel is not None:
            self._kernel.feed.stop()


def _whole_path(root: str, path: str) -> str:
    """Put the whole root path before a path: behind a proxy `FastAPI(root_path=…)` omits its front."""
    cut = 0
    while cut >= 0:
        if path.startswith(root[cut:] + "/"):
            return root[:cut] + path
        cut = root.find("/", cut + 1)
    return path


_NOT_STARTED = "the service has not been started: pass its `lifespan` to your application, or serve it by itself"
_STARTED = "the service has been started already: one `Watchword` has one lifespan at a time"


def dispatcher(kernel: Kernel) -> Dispatcher:
    """Collect every route of every feature, and the pages about them."""
    from watchword.web.dispatch import Dispatcher
    from watchword.web.docs import icon_route
    from watchword.web.openapi import docs_routes
    from watchword.web.origin import OriginRule
    from watchword.web.problem_pages import problem_routes

    settings = kernel.settings
    composed = features(kernel)
    routes = [route for feature in composed for route in feature.routes]
    url, prefix, registration = settings.public_url, settings.path_prefix, settings.registration == "open"
    routes += [icon_route(), *problem_routes(url, composed, prefix=prefix, docs=settings.docs)]
    if settings.docs:
        routes += docs_routes(composed, prefix=prefix, public_url=url, registration=registration)
    return Dispatcher(
        routes,
        prefix=settings.path_prefix,
        public_url=settings.public_url,
        verify=kernel.verifier.verify,
        origins=OriginRule(settings.public_url, settings.allowed_origins, allowed_headers=settings.allowed_headers),
        trusted_proxies=settings.trusted_proxies,
    )
