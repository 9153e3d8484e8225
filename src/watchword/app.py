"""The composition root: opens what the settings name, wires it by hand, and puts the features side by side."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.types import Receive, Scope, Send

from watchword.clock import Clock, SystemClock
from watchword.errors import Fault, InvalidKey, SettingsError
from watchword.identity import sweeping
from watchword.identity.feed import RevocationLog
from watchword.identity.guard_keys import GuardKeys
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import TokenIssuer
from watchword.identity.kernel import Kernel
from watchword.identity.keys import master, resealing
from watchword.identity.keys.master import Master
from watchword.identity.keys.ring import Keys
from watchword.identity.login import LogIn
from watchword.identity.revocation import Follower, create_feed, note_access_life
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.throttle import Throttle
from watchword.identity.users import Users
from watchword.identity.verifying import AccessVerifier
from watchword.settings import Settings, load
from watchword.settings.private_files import check_file, check_folder
from watchword.settings.values import is_among
from watchword.storage.database import Database
from watchword.storage.ephemeral import SWEEP_ROWS
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.migrate import migrate
from watchword.storage.opening import open_database
from watchword.tally import Faults, Log
from watchword.tokens.claims import AccessClaims
from watchword.tokens.known_secrets import check_shared_secret

if TYPE_CHECKING:  # a command opens the database only, and pays for no HTTP
    from watchword.web.dispatch import Dispatcher
    from watchword.web.feature import Feature

FOLLOW_SECONDS = 0.25
SWEEP_SECONDS = 60
ROTATE_SECONDS = 60
FAULTS_SECONDS = 60

_log = Log("watchword.app")


def features(kernel: Kernel) -> tuple[Feature, ...]:
    """What the product does. Take one out and the rest still works."""
    from watchword.features import accounts, health, oauth, passwords, proxy, revocations, sessions
    from watchword.web.cookies import RefreshCookie

    cookie = RefreshCookie(kernel.settings.public_url)
    return (
        accounts.feature(kernel, cookie),
        passwords.feature(kernel, cookie),
        sessions.feature(kernel, cookie),
        oauth.feature(kernel),
        revocations.feature(kernel),
        proxy.feature(),
        health.feature(kernel),
    )


def create_app(settings: Settings, *, clock: Clock | None = None) -> Watchword:
    """The service as an ASGI application. Its lifespan opens the database and closes it."""
    return Watchword(settings, clock=clock)


def from_environment() -> Watchword:
    """The service as the environment configures it, for an ASGI server of your own."""
    return create_app(load({}, os.environ, Path.cwd()).settings)


class Watchword:
    """The service as an ASGI application: served by itself, or mounted in yours.

        auth = Watchword(Settings(public_url="https://example.com/auth"))
        app = FastAPI(lifespan=auth.lifespan)
        app.mount("/auth", auth)

    The path of the public URL is where it is mounted. Nothing is read from the environment; see `from_environment`.
    A mounted application receives no lifespan events of its own, hence `lifespan` above: inside a lifespan that you
    have already, write `async with auth.lifespan(app):` around its `yield`.
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
        """Our routes stand under the path of the public URL; where we are mounted at that path, it is the prefix."""
        prefix, root = self.settings.path_prefix, scope.get("root_path", "")
        if not prefix or not root.endswith(prefix):
            return scope
        return {**scope, "root_path": root.removesuffix(prefix), "path": _whole_path(root, scope["path"])}

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncIterator[None]:  # noqa: ARG002 - frameworks pass it
        """Open the database, serve, close it. Raises `SettingsError` and `StorageError`.

        :param app: the application that it is the lifespan of; not needed, but frameworks pass it.
        """
        if self._started:
            raise RuntimeError(_STARTED)
        self._started = True  # before anything is waited for, during which another could begin
        try:
            async with opened(self.settings, clock=self._clock) as kernel, _in_background(kernel):
                self._kernel, self._dispatcher = kernel, dispatcher(kernel)
                try:
                    yield
                finally:
                    kernel.feed.stop()
                    self._kernel = self._dispatcher = None
        finally:
            self._started = False

    def verify(self, token: str) -> AccessClaims:
        """The claims of a valid access token, as the service itself sees it: for `Guard.local`. Raises `TokenError`."""
        if self._kernel is None:
            raise RuntimeError(_NOT_STARTED)
        return self._kernel.verifier.verify(token)

    def refuse_readiness(self) -> None:
        """Let `/readyz` answer 503 from now on: the server has been asked to stop, and balancers should look away."""
        if self._kernel is not None:
            self._kernel.stopping.set()

    def stop_waiting(self) -> None:
        """Answer those who wait for the feed: the server is about to stop and waits for open requests."""
        if self._kernel is not None:
            self._kernel.feed.stop()


def _whole_path(root: str, path: str) -> str:
    """The path with all of the root path before it: `FastAPI(root_path=…)` behind a proxy leaves its front out."""
    cut = 0
    while cut >= 0:
        if path.startswith(root[cut:] + "/"):
            return root[:cut] + path
        cut = root.find("/", cut + 1)
    return path


_NOT_STARTED = "the service has not been started: pass its `lifespan` to your application, or serve it by itself"
_STARTED = "the service has been started already: one `Watchword` has one lifespan at a time"


def dispatcher(kernel: Kernel) -> Dispatcher:
    """Every route of every feature, and the pages about them."""
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


@contextlib.asynccontextmanager
async def opened(
    settings: Settings, *, clock: Clock | None = None, serves: bool = True, path: Path | None = None
) -> AsyncIterator[Kernel]:
    """The kernel on an open, migrated database: for the service, and for commands beside it.

    :param serves: False for a command: it makes no signing key and leaves the master secret to the service.
    :param path: another file than the settings name: a backup that is about to be put in its place.
    :raises SettingsError:
    :raises StorageError:
    """
    clock = clock or SystemClock()
    _check_jwt_secret(settings)
    file = path or settings.database_path
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _check_private(settings, file)
    database = await open_database(settings, path=path, reserve=serves)
    hasher = Hasher(settings.password_hash, workers=settings.workers)
    try:
        secret = await _master_of(settings, database)  # first: with another one, nothing at all is changed
        await migrate(database, now=clock.now())
        yield await _assembled(settings, clock, database, hasher, secret, serves=serves)
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


def _check_apart(settings: Settings, masters: tuple[bytes, ...]) -> None:
    """The master secret may be in a file that the settings do not know."""
    if settings.jwt_secret is not None and is_among(settings.jwt_secret, masters):
        hint = "make another one with: watchword secret"
        raise SettingsError((Fault("WATCHWORD_JWT_SECRET", "is the master secret as well", hint),))


def _check_private(settings: Settings, path: Path) -> None:
    """Password hashes lie in the database and in its log, which others may have been let into by a restored backup."""
    check_folder(path.parent, "WATCHWORD_DATABASE_URL" if path.parent != settings.data_dir else "WATCHWORD_DATA_DIR")
    for each in (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            check_file(each, "WATCHWORD_DATABASE_URL", "password hashes are in it")


async def _master_of(settings: Settings, database: Database) -> Master:
    """What was given, or what is kept beside the database; one is made only beside a database that has none yet."""
    known = await master.known_to(database)
    keep = master.load_or_make if known is None else master.load
    secrets = settings.secret or (keep(settings.data_dir),)
    _check_apart(settings, secrets)
    found = Master(secrets)
    if known is not None:
        master.follow(found, known)
    return found


async def _assembled(
    settings: Settings, clock: Clock, database: Database, hasher: Hasher, secret: Master, *, serves: bool
) -> Kernel:
    await master.check(secret, database)
    await create_feed(database)
    keys = Keys(database, secret, settings, clock)
    if serves:
        await resealing.start(secret, database, clock)
        await keys.open()
    issuer = TokenIssuer(keys, settings)
    feed = RevocationLog(database, clock, lambda: keys.ring.version)
    follower = Follower(database, clock, feed.announce)
    alone = settings.workers == 1 and settings.database_path is not None
    ephemeral = MemoryEphemeral() if alone else SQLEphemeral(database)
    limits = {
        "login": settings.login_limit,
        "login_address": settings.login_address_limit,
        "login_account": settings.login_account_limit,
        "register": settings.register_limit,
        "session": settings.session_limit,
        "session_address": settings.session_address_limit,
        "change": settings.change_limit,
        "change_address": settings.change_address_limit,
        "conflict": settings.conflict_limit,
    }
    throttle = Throttle(database, ephemeral, limits, clock)
    users = Users(database, hasher, follower, throttle, settings, clock)
    await users.learn_kinds()
    await follower.catch_up()
    if serves:
        await note_access_life(database, issuer.lifetime)
    session_store = Sessions(database, ephemeral, secret, issuer, follower, settings, clock)
    return Kernel(
        settings=settings,
        clock=clock,
        database=database,
        master=secret,
        ephemeral=ephemeral,
        hasher=hasher,
        keys=keys,
        issuer=issuer,
        verifier=AccessVerifier(keys, follower, settings, clock),
        follower=follower,
        feed=feed,
        guard_keys=GuardKeys(database, clock),
        throttle=throttle,
        users=users,
        sessions=session_store,
        login=LogIn(database, users, session_store, throttle, follower, clock),
    )


@contextlib.asynccontextmanager
async def _in_background(kernel: Kernel) -> AsyncIterator[None]:
    """Follow the feed, rotate keys and sweep beside the requests. A fault is logged; the next turn tries again."""
    faults = Faults(_log, every=FAULTS_SECONDS)
    tasks = [asyncio.create_task(each(kernel, faults)) for each in (_follow, _rotate, _sweep)]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(kernel: Kernel, faults: Faults) -> None:
    changed = False
    while True:
        await asyncio.sleep(FOLLOW_SECONDS)
        try:
            # The database tells of a change once: what a turn that fails leaves undone, the next one does.
            changed = await kernel.follower.poll() or changed
            if changed:
                if await kernel.keys.reload():
                    kernel.feed.announce()
                changed = False
        except Exception as error:  # noqa: BLE001 - ending here, unseen, would be never to hear of a log-out again
            faults.add("following_failed", error)


async def _rotate(kernel: Kernel, faults: Faults) -> None:
    """Apply the schedule of the keys, at once when the service has started: the next key is made then."""
    while True:
        try:
            if await kernel.keys.follow_schedule():
                kernel.feed.announce()
        except Exception as error:  # noqa: BLE001 - ending here, unseen, would be one key for ever
            faults.add("rotating_failed", error)
        await asyncio.sleep(ROTATE_SECONDS)


async def _sweep(kernel: Kernel, faults: Faults) -> None:
    patrol = sweeping.Patrol(kernel.database)

    async def sweep_idle(kernel: Kernel) -> None:
        await patrol.turn(kernel.clock.now())

    while True:
        await asyncio.sleep(SWEEP_SECONDS)
        for sweep in (_sweep_rows, sweep_idle, _sweep_ephemeral, _sweep_list):
            try:
                await sweep(kernel)
            except Exception as error:  # noqa: BLE001 - ending here, unseen, would be to grow for ever
                faults.add("sweeping_failed", error)


async def _sweep_rows(kernel: Kernel) -> None:
    await sweeping.sweep(kernel.database, kernel.clock.now(), audit_retention=kernel.settings.audit_retention)


async def _sweep_ephemeral(kernel: Kernel) -> None:
    await sweeping.in_batches(lambda: kernel.ephemeral.sweep(kernel.clock.now()), SWEEP_ROWS)


async def _sweep_list(kernel: Kernel) -> None:
    kernel.follower.sweep()
