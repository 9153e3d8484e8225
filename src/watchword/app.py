"""The composition root: opens what the settings name, wires it by hand, and puts the features side by side."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog
from starlette.routing import Router
from starlette.types import ASGIApp, Receive, Scope, Send

from watchword.clock import Clock, SystemClock
from watchword.errors import Fault, InvalidKey, SettingsError, StorageError
from watchword.features import accounts, health, oauth, passwords, sessions
from watchword.identity import key_ring, master, sweeping
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import Issuer
from watchword.identity.kernel import Kernel
from watchword.identity.login import LogIn
from watchword.identity.master import Master
from watchword.identity.revocation import Follower, found_feed
from watchword.identity.sessions import Sessions
from watchword.identity.throttle import Throttle
from watchword.identity.users import Users
from watchword.identity.verifying import AccessVerifier
from watchword.settings import Settings, load
from watchword.storage.database import Database
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.migrate import migrate
from watchword.storage.sqlite import SQLite
from watchword.tokens.known_secrets import check_shared_secret
from watchword.web.cookies import RefreshCookie
from watchword.web.dispatch import Dispatcher
from watchword.web.feature import Feature
from watchword.web.openapi import docs_routes
from watchword.web.origin import OriginRule
from watchword.web.problem_pages import problem_routes

FOLLOW_SECONDS = 0.25
SWEEP_SECONDS = 60

_log = structlog.get_logger("watchword.app")


def features(kernel: Kernel) -> tuple[Feature, ...]:
    """What the product does. Take one out and the rest still works."""
    cookie = RefreshCookie(kernel.settings.public_url)
    return (
        accounts.feature(kernel, cookie),
        passwords.feature(kernel, cookie),
        sessions.feature(kernel, cookie),
        oauth.feature(kernel),
        health.feature(kernel),
    )


def create_app(settings: Settings, *, clock: Clock | None = None) -> ASGIApp:
    """The service as an ASGI application. Its lifespan opens the database and closes it."""
    return Application(settings, clock or SystemClock())


def from_environment() -> ASGIApp:
    """The service as the environment configures it: what each of several worker processes calls."""
    return create_app(load({}, os.environ, Path.cwd()).settings)


class Application:
    """The ASGI callable: requests go straight to the dispatcher, which exists while the lifespan does."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._dispatcher: Dispatcher | None = None
        self._lifespan = Router(lifespan=self._run)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http":
            if self._dispatcher is None:
                raise RuntimeError("the service has not been started: run its lifespan")
            await self._dispatcher(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1000})

    @contextlib.asynccontextmanager
    async def _run(self, _: Any) -> AsyncIterator[None]:
        async with opened(self._settings, clock=self._clock) as kernel, _in_background(kernel):
            self._dispatcher = dispatcher(kernel)
            try:
                yield
            finally:
                self._dispatcher = None


def dispatcher(kernel: Kernel) -> Dispatcher:
    """Every route of every feature, and the pages about them."""
    settings = kernel.settings
    composed = features(kernel)
    routes = [route for feature in composed for route in feature.routes]
    routes += problem_routes(settings.public_url)
    if settings.docs:
        routes += docs_routes(composed, prefix=settings.path_prefix, public_url=settings.public_url)
    return Dispatcher(
        routes,
        prefix=settings.path_prefix,
        public_url=settings.public_url,
        verify=kernel.verifier.verify,
        origins=OriginRule(settings.public_url, settings.allowed_origins),
        trusted_proxies=settings.trusted_proxies,
    )


@contextlib.asynccontextmanager
async def opened(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Kernel]:
    """The kernel on an open, migrated database: for the service, and for commands beside it.

    Raises `SettingsError` and `StorageError`.
    """
    clock = clock or SystemClock()
    _check_jwt_secret(settings)
    settings.database_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    secrets = settings.secret or (_kept_secret(settings),)
    database = await SQLite.open(settings.database_path, processes=settings.workers)
    hasher = Hasher(settings.password_hash, workers=settings.workers)
    try:
        await migrate(database, now=clock.now())
        yield await _assembled(settings, clock, database, hasher, Master(secrets))
    finally:
        hasher.close()
        await database.close()


def _check_jwt_secret(settings: Settings) -> None:
    if settings.jwt_secret is None:
        return
    try:
        check_shared_secret(settings.jwt_secret)
    except InvalidKey as error:
        raise SettingsError(
            (Fault("WATCHWORD_JWT_SECRET", error.message, "make one with: watchword secret"),)
        ) from error


def _kept_secret(settings: Settings) -> bytes:
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    return master.load_or_make(settings.data_dir)


async def _assembled(settings: Settings, clock: Clock, database: Database, hasher: Hasher, secret: Master) -> Kernel:
    await master.check(secret, database)
    await found_feed(database)
    ring = await key_ring.load(database, secret, settings, clock)
    issuer = Issuer(ring, settings)
    follower = Follower(database, clock)
    ephemeral = MemoryEphemeral() if settings.workers == 1 else SQLEphemeral(database)
    limits = {
        "login": settings.login_limit,
        "login_address": settings.login_address_limit,
        "login_account": settings.login_account_limit,
        "register": settings.register_limit,
    }
    throttle = Throttle(ephemeral, limits, clock)
    users = Users(database, hasher, follower, settings, clock)
    await users.learn_kinds()
    await follower.catch_up()
    session_store = Sessions(database, secret, issuer, follower, settings, clock)
    return Kernel(
        settings=settings,
        clock=clock,
        database=database,
        ephemeral=ephemeral,
        hasher=hasher,
        ring=ring,
        issuer=issuer,
        verifier=AccessVerifier(ring, follower, settings, clock),
        follower=follower,
        throttle=throttle,
        users=users,
        sessions=session_store,
        login=LogIn(database, users, session_store, throttle, follower, clock),
    )


@contextlib.asynccontextmanager
async def _in_background(kernel: Kernel) -> AsyncIterator[None]:
    """What goes on beside requests: following the feed, sweeping. A fault is logged and the next turn tries again."""
    tasks = [asyncio.create_task(_follow(kernel)), asyncio.create_task(_sweep(kernel))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(kernel: Kernel) -> None:
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        try:
            await kernel.follower.poll()
        except StorageError as error:
            _log.warning("following_failed", error=error.message)


async def _sweep(kernel: Kernel) -> None:
    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        try:
            await sweeping.sweep(kernel.database, kernel.clock.now())
            await kernel.ephemeral.sweep(kernel.clock.now())
            kernel.follower.sweep()
        except StorageError as error:
            _log.warning("sweeping_failed", error=error.message)
