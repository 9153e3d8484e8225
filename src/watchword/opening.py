"""Open the service: check everything, open the database, build the kernel. Commands use it too."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from watchword.clock import Clock, SystemClock
from watchword.errors import Fault, InvalidInput, SettingsError
from watchword.identity.api_key_screen import load_key_ids
from watchword.identity.api_keys import ApiKeys
from watchword.identity.asking import Asks
from watchword.identity.feed import RevocationLog
from watchword.identity.granting import Granting
from watchword.identity.guard_keys import GuardKeys
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import TokenIssuer
from watchword.identity.kernel import Kernel
from watchword.identity.keys import master, resealing
from watchword.identity.keys.master import Master
from watchword.identity.keys.ring import Keys
from watchword.identity.known_devices import KnownDevices
from watchword.identity.legacy_factor import LegacyFactor, legacy_of
from watchword.identity.login import LogIn
from watchword.identity.notices import Notices
from watchword.identity.one_time import OneTime
from watchword.identity.outbox import Outbox
from watchword.identity.own_claims import ClaimsFunction, ComputedClaims, MappedClaims, OwnClaims, note_paths
from watchword.identity.posting import Post
from watchword.identity.redeeming import Addresses
from watchword.identity.revocation import Revocations, create_feed, find_place, note_access_life, note_legacy_until
from watchword.identity.rights import Rights, create_rights, note_audience, noted_audience
from watchword.identity.service_accounts.accounts import ServiceAccounts
from watchword.identity.service_accounts.exchanging import Exchanging
from watchword.identity.service_accounts.granting import AccountTokens
from watchword.identity.service_accounts.proving import Proving
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.showing import Showing
from watchword.identity.throttle import Throttle
from watchword.identity.trail.chain import Chain
from watchword.identity.users import Users
from watchword.identity.verifying import AccessVerifier
from watchword.identity.webhooks.deliveries import Deliveries
from watchword.identity.webhooks.endpoints import Endpoints
from watchword.identity.webhooks.teller import Teller
from watchword.mail.sending import Console, Sender, Smtp
from watchword.meters import UNMETERED, Meters
from watchword.settings import Settings
from watchword.settings.private_files import check_file, check_folder, make_folder
from watchword.settings.table import BY_NAME, limits_of
from watchword.settings.values import is_among
from watchword.storage.database import Database
from watchword.storage.ephemeral import Ephemeral
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.hints import Hints
from watchword.storage.leases import Leases
from watchword.storage.migrate import migrate
from watchword.storage.opening import open_database
from watchword.tracing import UNTRACED, Tracer
from watchword.webhooks.sending import HttpSender

if TYPE_CHECKING:
    from watchword.mail.templates import Templates


@contextlib.asynccontextmanager
async def opened(
    settings: Settings,
    *,
    clock: Clock | None = None,
    serves: bool = True,
    path: Path | None = None,
    meters: Meters = UNMETERED,
    tracer: Tracer = UNTRACED,
    claims: ClaimsFunction | None = None,
) -> AsyncIterator[Kernel]:
    """Build the kernel on an open, migrated database, for the service and for commands.

    :param serves: False for a command: it makes no signing key and seals nothing anew.
    :param path: a file in place of the settings' own, such as a backup to restore.
    :param meters: count what happens.
    :param tracer: tell where the time goes.
    :param claims: in place of the setting: what tokens carry of a user.
    :raises SettingsError:
    :raises StorageError:
    """
    clock = clock or SystemClock()
    _prepare(settings, path or settings.database_path, serves=serves)
    database = await open_database(settings, path=path, reserve=serves, meters=meters, tracer=tracer)
    hasher = Hasher(settings.password_hash, workers=settings.workers, meters=meters, tracer=tracer)
    try:
        secret = await _master_of(settings, database)  # first: a wrong secret changes nothing
        await migrate(database, now=clock.now())
        async with contextlib.AsyncExitStack() as stack:
            own: OwnClaims = MappedClaims(settings.claims) if claims is None else ComputedClaims(claims)
            yield await _assembled(settings, clock, database, hasher, secret, own, stack, meters, tracer, serves=serves)
    finally:
        hasher.close()
        await database.close()


def _check_apart(settings: Settings, masters: tuple[bytes, ...]) -> None:
    """Refuse equal secrets: the master secret may be in a file that the settings do not know."""
    for row in (BY_NAME["jwt_secret"], BY_NAME["legacy_jwt_secret"]):
        secret = settings.value(row.name)
        if secret is not None and is_among(secret, masters):
            hint = "make another one with: watchword secret"
            raise SettingsError((Fault(row.variable, "is the master secret as well", hint),))


def _prepare(settings: Settings, path: Path | None, *, serves: bool) -> None:
    """Make the directories, and refuse them or a file in them where others may have been let in.

    Password hashes lie in the database and in its log, which a restored backup may have left open. A command does not
    try to write: it must be able to end sessions when the disk is full.
    """
    folders = {} if path is None else {path.parent: "WATCHWORD_DATABASE_URL"}
    if settings.secret is None or settings.data_dir in folders:  # else nothing is kept there
        folders[settings.data_dir] = "WATCHWORD_DATA_DIR"
    for folder, variable in folders.items():
        make_folder(folder, variable, tries_writing=serves)
        check_folder(folder, variable)
    for each in () if path is None else (path, path.with_name(path.name + "-wal")):
        with contextlib.suppress(FileNotFoundError):
            check_file(each, "WATCHWORD_DATABASE_URL", "password hashes are in it")


async def _master_of(settings: Settings, database: Database) -> Master:
    """Return the given or the stored master secret; make one only for a database without."""
    known = await master.known_to(database)
    keep = master.load_or_make if known is None else master.load
    secrets = settings.secret or (keep(settings.data_dir),)
    _check_apart(settings, secrets)
    found = Master(secrets)
    if known is not None:
        master.follow(found, known)
    return found


async def _assembled(
    settings: Settings,
    clock: Clock,
    database: Database,
    hasher: Hasher,
    secret: Master,
    own: OwnClaims,
    stack: contextlib.AsyncExitStack,
    meters: Meters,
    tracer: Tracer,
    *,
    serves: bool,
) -> Kernel:
    await master.check(secret, database)
    await create_feed(database)
    await create_rights(database)
    key_ids = await load_key_ids(database, clock.now())
    feed = RevocationLog(database, clock, lambda: keys.ring.version)
    ephemeral, hints = await _short_lived(settings, database, stack, serves=serves)
    revocations = Revocations(database, clock, feed.announce, hints.tell, meters)
    keys = Keys(database, revocations, secret, settings, clock)
    if serves:
        await resealing.start(secret, database, clock)
        await keys.open()
    issuer = TokenIssuer(keys, settings, own)
    rights = Rights(database, settings.audience if serves else await noted_audience(database, settings.audience))
    await rights.catch_up()
    throttle = Throttle(database, ephemeral, limits_of(settings), clock, meters)
    outbox = Outbox(database, clock, enabled=settings.sends_mail)
    one_time = OneTime(database, secret, clock)
    notices = Notices(outbox, one_time)
    known_devices = KnownDevices(secret, clock)
    users = Users(database, hasher, revocations, throttle, notices, own, settings, clock)
    await users.learn_kinds()
    await revocations.catch_up()
    legacy = legacy_of(settings, clock) if serves else None
    granting = Granting(rights, revocations, clock, settings.scopes)
    if serves:
        await note_access_life(database, issuer.lifetime)
        await note_paths(database, own.paths)
        await note_audience(database, settings.audience)
        await _follow_scopes(granting)
    if legacy is not None:
        await note_legacy_until(revocations, legacy.until)
    session_store = Sessions(database, ephemeral, secret, issuer, rights, revocations, settings, clock, notices, meters)
    login = LogIn(
        database,
        session_store,
        throttle,
        revocations,
        ephemeral,
        clock,
        notices,
        known_devices,
        needs_verified=settings.email_verification == "required",
        meters=meters,
    )
    showing = Showing(login, session_store, known_devices, hasher, users, throttle)
    webhooks = Endpoints(database, secret, clock)
    deliveries = Deliveries(database, clock, patience=int(settings.webhook_patience.total_seconds()))
    verifier = AccessVerifier(keys, rights, revocations, settings, clock)
    return Kernel(
        settings=settings,
        clock=clock,
        database=database,
        master=secret,
        ephemeral=ephemeral,
        hasher=hasher,
        keys=keys,
        issuer=issuer,
        own_claims=own,
        rights=rights,
        granting=granting,
        verifier=verifier,
        revocations=revocations,
        feed=feed,
        guard_keys=GuardKeys(database, clock),
        service_accounts=ServiceAccounts(database, rights, revocations, clock),
        proving=Proving(database, ephemeral, SQLEphemeral(database), throttle, settings, clock),
        account_tokens=AccountTokens(database, issuer, rights, revocations, throttle, clock),
        exchanging=Exchanging(database, ephemeral, issuer, rights, verifier, session_store, throttle, clock),
        api_keys=ApiKeys(database, issuer, rights, revocations, throttle, notices, key_ids, clock),
        throttle=throttle,
        users=users,
        sessions=session_store,
        login=login,
        showing=showing,
        known_devices=known_devices,
        legacy=None if legacy is None else LegacyFactor(legacy, database, clock),
        webhooks=webhooks,
        deliveries=deliveries,
        teller=Teller(database, webhooks, deliveries, Chain(database, secret), HttpSender(), clock, meters),
        leases=Leases(database),
        notices=notices,
        asks=Asks(database, outbox, one_time, throttle, settings),
        addresses=Addresses(
            one_time, notices, users, revocations, throttle, showing, clock, registers=settings.registration == "open"
        ),
        outbox=outbox,
        one_time=one_time,
        post=Post(
            database,
            outbox,
            one_time,
            throttle,
            known_devices,
            _templates(settings),
            _sender(settings),
            settings,
            clock,
        )
        if serves and outbox.enabled
        else None,
        hints=hints,
        meters=meters,
        tracer=tracer,
    )


async def _follow_scopes(granting: Granting) -> None:
    try:
        await granting.follow_setting()
    except InvalidInput as error:
        hint = "give fewer, or shorter names"
        raise SettingsError((Fault("WATCHWORD_SCOPES", error.errors[0].message, hint),)) from None


def _templates(settings: Settings) -> Callable[[], Templates]:
    """Return the templates once they are needed. The operator's own are tried at once.

    :raises SettingsError: one of the operator's cannot be used.
    """

    _require("jinja2")

    @cache
    def templates() -> Templates:
        from watchword.mail.templates import Templates  # here: a start need not wait for Jinja

        return Templates(settings.mail_templates)

    if settings.mail_templates is not None:
        templates().check()
    return templates


def _sender(settings: Settings) -> Sender:
    if settings.smtp_url is None:
        return Console()
    _require("aiosmtplib")
    return Smtp(settings.smtp_url, settings.mail_from or "")


def _require(module: str) -> None:
    """Fail at the start for a package that is imported with the first mail. Raises `ModuleNotFoundError`."""
    if find_spec(module) is None:
        raise ModuleNotFoundError(f"No module named {module!r}", name=module)


async def _short_lived(
    settings: Settings, database: Database, stack: contextlib.AsyncExitStack, *, serves: bool
) -> tuple[Ephemeral, Hints]:
    """Where limits are counted, and what makes polls early. A command asks no Valkey: it is heard of at the next poll.

    :raises SettingsError: the URL names no server that can ever be used; one that is away is no reason not to start.
    """
    if settings.redis_url is None or not serves:
        alone = settings.workers == 1 and settings.database_path is not None  # PostgreSQL may have other services
        return MemoryEphemeral() if alone else SQLEphemeral(database), Hints()
    try:
        from watchword.storage import ephemeral_fallback, ephemeral_redis, valkey, valkey_hints
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        fault = Fault(
            "WATCHWORD_REDIS_URL",
            "needs the package redis",
            f"in your clone: {sys.executable} -m pip install -e '.[server,redis]'",
        )
        raise SettingsError((fault,)) from None
    place = await find_place(database)
    server = await stack.enter_async_context(valkey.opened(settings.redis_url, f"ww:{place.feed_id}:"))
    heard = await stack.enter_async_context(valkey_hints.ValkeyHints(server).running())
    counters = ephemeral_redis.RedisCounters(server)
    return ephemeral_fallback.FallbackEphemeral(counters, SQLEphemeral(database)), heard
