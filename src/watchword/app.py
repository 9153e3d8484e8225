"""The application: its features, `Watchword` as an ASGI application, its dispatcher."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Never

from starlette.types import Receive, Scope, Send

from watchword import __version__
from watchword.background import in_background
from watchword.clock import Clock, SystemClock
from watchword.errors import Fault, SettingsError
from watchword.identity.kernel import Kernel
from watchword.identity.own_claims import ClaimsFunction
from watchword.identity.own_claims import TokenUser as TokenUser  # noqa: PLC0414 - re-exported
from watchword.meters import BUILD, UNMETERED, Meters
from watchword.observing import extras
from watchword.opening import opened
from watchword.settings import Settings, load
from watchword.tokens.claims import AccessClaims
from watchword.tokens.revocations import RevocationSet
from watchword.tracing import UNTRACED, Tracer

if TYPE_CHECKING:  # imported when the application starts
    from watchword.observing.opentelemetry import Provider
    from watchword.observing.prometheus import Registry
    from watchword.web.dispatch import Dispatcher
    from watchword.web.feature import Feature
    from watchword.web.pages.layout import Look


class _FromCode:
    """Marks a parameter that no request may fill: `Depends(auth.verify)` in FastAPI would read it from the query."""

    def __get_pydantic_core_schema__(self, *_: object) -> Never:
        raise TypeError(
            "watchword: verify is no dependency for FastAPI; with auth = FastAPIGuard(Guard.local(service)) write "
            "`caller: Annotated[Caller, auth.required()]` or `dependencies=[auth.required()]`"
        )


_FROM_CODE: Final = _FromCode()


def features(kernel: Kernel, look: Look | None = None) -> tuple[Feature, ...]:
    """List what the product does. Without one of them the rest still works.

    :param look: of the pages, as the settings say without it.
    """
    from watchword import pages
    from watchword.features import (
        accounts,
        activity,
        admin,
        api_keys,
        codes,
        health,
        mail,
        oauth,
        passwords,
        proxy,
        recovery,
        revocations,
        sessions,
    )
    from watchword.web import front_page
    from watchword.web.cookies import DeviceCookie, SessionCookies
    from watchword.web.pages.layout import Look

    settings = kernel.settings
    cookie = SessionCookies(settings.public_url, access=settings.access_cookie)
    device = DeviceCookie(settings.public_url)
    return (
        accounts.feature(kernel, cookie, device),
        passwords.feature(kernel, cookie, device),
        codes.feature(kernel, cookie, device),
        recovery.feature(kernel, device),
        mail.feature(kernel, cookie, device),
        activity.feature(kernel),
        sessions.feature(kernel, cookie),
        oauth.feature(kernel),
        api_keys.feature(kernel),
        revocations.feature(kernel),
        admin.feature(kernel),
        proxy.feature(),
        health.feature(kernel),
        pages.feature(kernel, cookie, device, look or Look(settings)),
        front_page.feature(settings.public_url, prefix=settings.path_prefix, docs=settings.docs, pages=settings.pages),
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

    :param claims: what access tokens say of a user, in place of `WATCHWORD_CLAIMS`: a plain function from `TokenUser`
        to a mapping, without side effects. Each log-in and each refresh asks it, in the transaction; what it raises
        fails them, and nothing is stored.
    :param registry: of prometheus-client; the service counts there, and your application shows it.
    :param tracer_provider: of OpenTelemetry, in place of what the `OTEL_…` variables say; turns tracing on.
    :raises TypeError: no settings, such as a dict or a URL.
    :raises SettingsError: a metrics port without a registry: only `watchword serve` opens that port; `claims` beside
        the setting.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Clock | None = None,
        claims: ClaimsFunction | None = None,
        registry: Registry | None = None,
        tracer_provider: Provider | None = None,
    ) -> None:
        from starlette.routing import Router

        self.settings = Settings() if settings is None else _checked(settings)
        self._clock = clock or SystemClock()
        self._claims = _claims(self.settings, claims)
        self._meters = _meters(self.settings, registry)
        self._tracer_provider = tracer_provider
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
            async with (
                _traced(self.settings, self._tracer_provider) as tracer,
                opened(
                    self.settings, clock=self._clock, meters=self._meters, tracer=tracer, claims=self._claims
                ) as kernel,
                in_background(kernel),
            ):
                look = _look(self.settings)
                self._kernel, self._dispatcher = kernel, dispatcher(kernel, look)
                loading = asyncio.ensure_future(look.load())  # no start waits for it
                try:
                    yield
                finally:
                    kernel.feed.stop()
                    await loading
                    self._kernel = self._dispatcher = None
        finally:
            self._started = False

    def verify(self, token: Annotated[str, _FROM_CODE]) -> AccessClaims:
        """Return the claims of a valid access token, for `Guard.local`. Raises `TokenError`."""
        if self._kernel is None:
            raise RuntimeError(_NOT_STARTED)
        return self._kernel.verifier.verify(token)

    @property
    def revocations(self) -> RevocationSet:
        """Return the list by which `verify` refuses tokens, for callers of `Guard.local` who are watched."""
        if self._kernel is None:
            raise RuntimeError(_NOT_STARTED)
        return self._kernel.revocations.refused

    def refuse_readiness(self) -> None:
        """Answer 503 at `/readyz` from now on, so balancers leave before the server stops."""
        if self._kernel is not None:
            self._kernel.stopping.set()

    def stop_waiting(self) -> None:
        """Answer requests that wait for the feed: a stopping server waits for them."""
        if self._kernel is not None:
            self._kernel.feed.stop()


def _checked(given: object) -> Settings:
    if isinstance(given, Settings):
        return given
    # What was given is not shown: it may hold secrets.
    raise TypeError('Watchword takes settings: write Watchword(Settings(public_url="https://example.com/auth"))')


def _claims(settings: Settings, function: ClaimsFunction | None) -> ClaimsFunction | None:
    if function is None:
        return None
    given: object = function
    if not callable(given) or inspect.iscoroutinefunction(given):
        raise TypeError("claims= takes a plain function: each refresh asks it inside a transaction, and waits for it")
    if settings.claims:
        hint = "leave one of the two out: the function gets the same data of the user"
        raise SettingsError((Fault("WATCHWORD_CLAIMS", "is given beside claims=", hint),))
    return function


def _meters(settings: Settings, registry: Registry | None) -> Meters:
    if registry is not None:
        from watchword.observing.prometheus import PrometheusMeters

        meters = PrometheusMeters(registry)
        meters.declare(BUILD, (__version__,))
        meters.level(BUILD, 1, __version__, "postgresql" if settings.database_path is None else "sqlite")
        return meters
    if settings.metrics_port is not None:
        hint = "give registry=… to Watchword and show it in your application, or leave the metrics port out"
        raise SettingsError((Fault("WATCHWORD_METRICS_PORT", "is opened by `watchword serve` only", hint),))
    return UNMETERED


@contextlib.asynccontextmanager
async def _traced(settings: Settings, provider: Provider | None) -> AsyncIterator[Tracer]:
    """Trace with this provider, or with one that the environment describes, which is shut down at the end."""
    if provider is None and not settings.tracing:
        yield UNTRACED
        return
    opentelemetry = extras.opentelemetry("WATCHWORD_TRACING")
    if provider is not None:
        yield opentelemetry.OpenTelemetryTracer(provider, __version__)
        return
    own = opentelemetry.provider_of_the_environment(__version__)
    try:
        yield opentelemetry.OpenTelemetryTracer(own, __version__)
    finally:
        await opentelemetry.shut_down(own)


def _look(settings: Settings) -> Look:
    from watchword.web.pages.layout import Look

    return Look(settings)


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


def dispatcher(kernel: Kernel, look: Look | None = None) -> Dispatcher:
    """Collect every route of every feature, and the pages about them.

    :param look: of the pages; by default one of the settings.
    """
    from watchword.web.cookies import DeviceCookie, SessionCookies
    from watchword.web.dispatch import Dispatcher
    from watchword.web.docs import icon_route
    from watchword.web.forwarded import ForwardedTokens
    from watchword.web.openapi import docs_routes
    from watchword.web.origin import OriginRule
    from watchword.web.pages.layout import Look
    from watchword.web.pages.links import link_routes
    from watchword.web.problem_pages import problem_routes

    settings = kernel.settings
    look = look or Look(settings)
    look.check()
    composed = features(kernel, look)
    routes = [route for feature in composed for route in feature.routes]
    url, prefix, registration = settings.public_url, settings.path_prefix, settings.registration == "open"
    routes += [icon_route(), *problem_routes(url, composed, prefix=prefix, docs=settings.docs)]
    links = [link for each in composed for link in each.links]
    cookie, device = SessionCookies(url, access=settings.access_cookie), DeviceCookie(url)
    routes += link_routes(links, kernel.one_time, kernel.known_devices, cookie, device, look)
    if settings.docs:
        routes += docs_routes(composed, prefix=prefix, public_url=url, registration=registration)
    return Dispatcher(
        routes,
        prefix=settings.path_prefix,
        public_url=settings.public_url,
        verify=kernel.verifier.verify,
        origins=OriginRule(settings.public_url, settings.allowed_origins, allowed_headers=settings.allowed_headers),
        trusted_proxies=settings.trusted_proxies,
        limits=kernel.throttle.policies,
        meters=kernel.meters,
        tracer=kernel.tracer,
        refusal_page=look.refusal,
        lost_page=look.lost if settings.pages else None,
        clock=kernel.clock,
        forwarded=ForwardedTokens(settings),
    )
