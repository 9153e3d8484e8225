"""Open the service: check everything, open the database, build the kernel. Commands use it too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from watchword.clock import Clock, SystemClock
from watchword.errors import Fault, SettingsError
from watchword.identity.feed import RevocationLog
from watchword.identity.guard_keys import GuardKeys
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import TokenIssuer
from watchword.identity.kernel import HintedPolls, Kernel
from watchword.identity.keys import master, resealing
from watchword.identity.keys.master import Master
from watchword.identity.keys.ring import Keys
from watchword.identity.login import LogIn
from watchword.identity.revocation import Revocations, create_feed, note_access_life
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.throttle import Throttle
from watchword.identity.users import Users
from watchword.identity.verifying import AccessVerifier
from watchword.settings import Settings
from watchword.settings.private_files import check_file, check_folder, make_folder
from watchword.settings.table import limits_of
from watchword.settings.values import is_among
from watchword.storage.database import Database
from watchword.storage.ephemeral import Ephemeral
from watchword.storage.ephemeral_memory import MemoryEphemeral
from watchword.storage.ephemeral_sql import SQLEphemeral
from watchword.storage.migrate import migrate
from watchword.storage.opening import open_database


@contextlib.asynccontextmanager
async def opened(
    settings: Settings, *, clock: Clock | None = None, serves: bool = True, path: Path | None = None
) -> AsyncIterator[Kernel]:
    """Build the kernel on an open, migrated database, for the service and for commands.

    :param serves: False for a command: it makes no signing key and seals nothing anew.
    :param path: a file in place of the settings' own, such as a backup to restore.
    :raises SettingsError:
    :raises StorageError:
    """
    clock = clock or SystemClock()
    _prepare(settings, path or settings.database_path, serves=serves)
    database = await open_database(settings, path=path, reserve=serves)
    hasher = Hasher(settings.password_hash, workers=settings.workers)
    try:
        secret = await _master_of(settings, database)  # first: a wrong secret changes nothing
        await migrate(database, now=clock.now())
        async with contextlib.AsyncExitStack() as stack:
            yield await _assembled(settings, clock, database, hasher, secret, stack, serves=serves)
    finally:
        hasher.close()
        await database.close()


def _check_apart(settings: Settings, masters: tuple[bytes, ...]) -> None:
    """Refuse equal secrets: the master secret may be in a file that the settings do not know."""
    if settings.jwt_secret is not None and is_among(settings.jwt_secret, masters):
        hint = "make another one with: watchword secret"
        raise SettingsError((Fault("WATCHWORD_JWT_SECRET", "is the master secret as well", hint),))


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
    stack: contextlib.AsyncExitStack,
    *,
    serves: bool,
) -> Kernel:
    await master.check(secret, database)
    await create_feed(database)
    feed = RevocationLog(database, clock, lambda: keys.ring.version)
    ephemeral, hints = await _short_lived(settings, database, stack, serves=serves)
    revocations = Revocations(database, clock, feed.announce, None if hints is None else hints.tell)
    keys = Keys(database, revocations, secret, settings, clock)
    if serves:
        await resealing.start(secret, database, clock)
        await keys.open()
    issuer = TokenIssuer(keys, settings)
    throttle = Throttle(database, ephemeral, limits_of(settings), clock)
    users = Users(database, hasher, revocations, throttle, settings, clock)
    await users.learn_kinds()
    await revocations.catch_up()
    if serves:
        await note_access_life(database, issuer.lifetime)
    session_store = Sessions(database, ephemeral, secret, issuer, revocations, settings, clock)
    return Kernel(
        settings=settings,
        clock=clock,
        database=database,
        master=secret,
        ephemeral=ephemeral,
        hasher=hasher,
        keys=keys,
        issuer=issuer,
        verifier=AccessVerifier(keys, revocations, settings, clock),
        revocations=revocations,
        feed=feed,
        guard_keys=GuardKeys(database, clock),
        throttle=throttle,
        users=users,
        sessions=session_store,
        login=LogIn(database, session_store, throttle, revocations, ephemeral, clock),
        hints=hints,
    )


async def _short_lived(
    settings: Settings, database: Database, stack: contextlib.AsyncExitStack, *, serves: bool
) -> tuple[Ephemeral, HintedPolls | None]:
    """Where limits are counted. A command asks no Valkey: it is heard of at the next poll.

    :raises SettingsError: the URL names no server that can ever be used; one that is away is no reason not to start.
    """
    if settings.redis_url is None or not serves:
        alone = settings.workers == 1 and settings.database_path is not None  # PostgreSQL may have other services
        return MemoryEphemeral() if alone else SQLEphemeral(database), None
    try:
        from watchword.storage import ephemeral_fallback, ephemeral_redis, hints, valkey
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "redis":
            raise
        fault = Fault("WATCHWORD_REDIS_URL", "needs the package redis", "in your clone: pip install '.[server,redis]'")
        raise SettingsError((fault,)) from None
    row = await database.one("SELECT feed_id, head FROM ww_feed WHERE id = 1")
    assert row is not None, "the feed's row is made with the first start"
    server = await stack.enter_async_context(valkey.opened(settings.redis_url, f"ww:{row['feed_id']}:"))
    heard = await stack.enter_async_context(hints.Hints(server).running())
    counters = ephemeral_redis.RedisCounters(server)
    return ephemeral_fallback.FallbackEphemeral(counters, SQLEphemeral(database)), heard
