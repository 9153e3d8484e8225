"""Looks at what the service keeps and talks to: the database, the keys, mail, Valkey."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

import msgspec

from watchword.cli.doctor.findings import Seen, Unseen, failed, passed, skipped, warned
from watchword.cli.doctor.inside import Inside, schema
from watchword.cli.doctor.surface import judged_clock
from watchword.clock import SystemClock, monotonic
from watchword.errors import SchemaMismatch, SettingsError, StorageError
from watchword.identity.keys import master
from watchword.identity.keys.master import Master
from watchword.identity.keys.store import ABOUT
from watchword.mail.sending import Smtp
from watchword.settings import postgres_url
from watchword.tokens.keys import SigningKey

_SLOW = 0.25
_DAY = 86_400
_LATE = 3 * _DAY
_OLD_KEY = 400 * _DAY
_NEARLY_ALL = 0.8
_SECONDS = 20.0
_ACTIVE = (
    "SELECT kid, algorithm, sealed_private, activated_at FROM ww_signing_keys WHERE status = 'active'"
    " ORDER BY activated_at DESC"
)


async def database(inside: Inside) -> Seen:
    """Reach it, and see how far it is migrated."""
    if inside.fault:
        return failed(inside.fault)
    begun = monotonic()
    try:
        found = await schema(inside.database)
    except (SchemaMismatch, StorageError) as error:
        return failed(" ".join(str(error).split()))
    seconds = monotonic() - begun
    if not found.version:
        return failed("it is empty: the service has never started on it", "watchword serve")
    if found.pending:
        return failed(f"its schema is {found.version}, and {len(found.pending)} migrations wait", "watchword migrate")
    inside.migrated = True
    text = f"schema {found.version}, answered in {seconds * 1000:.0f} ms"
    return warned(f"{text}: that is slow") if seconds > _SLOW else passed(text)


async def keys(inside: Inside) -> Seen:
    """Look how old the key is that signs, and take it for an expired token."""
    found = inside.settings
    if found.jwt_secret is not None:
        inside.signing = SigningKey.shared_secret(found.jwt_secret, "HS256")
        return passed("WATCHWORD_JWT_SECRET signs, which is in no list of known secrets; it is rotated by hand")
    rows = await inside.tables.all(_ACTIVE)
    row = next((each for each in rows if each["algorithm"] == found.algorithm), None)
    if row is None:
        return failed(f"no {found.algorithm} key signs: the service makes one when it starts", "watchword serve")
    fault, hint = _unsealed(inside, str(row["sealed_private"]), str(row["kid"]))
    if fault:
        return failed(fault, f"{hint}; if it is gone for good: docs/guides/operate.md#the-master-secret-is-lost")
    age = SystemClock().now() - int(row["activated_at"])
    text = f"the {found.algorithm} key is {age / _DAY:.1f} days old"
    if found.key_rotation is None:
        return warned(f"{text}, and is never replaced by itself") if age > _OLD_KEY else passed(text)
    due = int(found.key_rotation.total_seconds())
    if age > due + _LATE:
        return failed(
            f"{text}, and was due after {due // _DAY}: no process follows the schedule", "watchword keys rotate"
        )
    return passed(f"{text} of {due // _DAY}")


def _unsealed(inside: Inside, sealed: str, kid: str) -> tuple[str, str]:
    """Take the key, if the master secret opens it. Return what is wrong, or '', and what to do."""
    found = inside.settings
    try:
        secret = Master(found.secret or (master.load(found.data_dir),))
        private = secret.unseal(sealed, about=ABOUT.format(kid))
    except SettingsError as error:
        return "; ".join(f"{fault.setting} {fault.message}" for fault in error.faults), error.faults[0].hint
    inside.signing = SigningKey.from_jwk(msgspec.json.decode(private))
    return "", ""


async def clock(inside: Inside) -> Seen:
    """Compare the database's clock with ours."""
    if inside.settings.database_path is not None:
        return skipped("SQLite has the clock of this machine")
    row = await inside.database.one("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT) AS now")
    if row is None:
        raise Unseen("the database told no time")
    return judged_clock(int(row["now"]) - SystemClock().now(), "the database's")


async def connections(inside: Inside) -> Seen:
    """Hold what our processes may open against what the server gives."""
    if inside.settings.database_path is not None:
        return skipped("SQLite counts no connections")
    url = postgres_url.read(inside.settings.database_url)
    if url.pgbouncer:
        return skipped("PgBouncer shares its connections: see its own pool_size")
    row = await inside.database.one(
        "SELECT CAST(current_setting('max_connections') AS BIGINT)"
        " - CAST(current_setting('superuser_reserved_connections') AS BIGINT) AS most"
    )
    most = 0 if row is None else int(row["most"])
    ours = inside.settings.workers * url.connections
    text = f"{inside.settings.workers} workers of {url.connections} connections each: {ours} of {most}"
    if ours > most:
        return failed(text)
    return warned(f"{text}, for one host") if ours > _NEARLY_ALL * most else passed(f"{text}, for one host")


async def mail(inside: Inside) -> Seen:
    """Greet the mail server, with TLS and log-in as for a mail, and look for mails that were given up."""
    found = inside.settings
    if found.smtp_url is None:
        if found.is_on_loopback:
            return passed("none is set; mail is printed, on an address that only this machine reaches")
        return warned("none is set: no one can set a forgotten password")
    outcome = await Smtp(found.smtp_url, found.mail_from or "").greet()
    if outcome is not None:
        return failed(f"the mail server cannot be used: {outcome.message}")
    with suppress(Unseen):
        row = await inside.tables.one("SELECT COUNT(*) AS given_up FROM ww_outbox WHERE failed_at IS NOT NULL")
        if row is not None and row["given_up"]:
            return warned(
                f"the mail server answers, and {row['given_up']} mails were given up", "watchword mail failed"
            )
    return passed("the mail server takes our log-in, and no mail was given up")


async def valkey(inside: Inside) -> Seen:
    """Look whether Valkey answers, and whether it forgets counters when it is full."""
    url = inside.settings.redis_url
    if url is None:
        return skipped("none is set; limits are counted in memory or in the database")
    try:
        from watchword.storage import valkey as server
    except ModuleNotFoundError:
        return failed(
            "the package redis is missing", f"in your clone: {sys.executable} -m pip install -e '.[server,redis]'"
        )
    try:
        async with asyncio.timeout(_SECONDS):
            about = await server.about(url)
    except server.FAULTS as error:
        return failed(f"it does not answer ({type(error).__name__}); limits are counted in the database meanwhile")
    policy = str(about.get("maxmemory_policy", "noeviction"))
    if about.get("role") == "slave":
        return failed("it is a replica, which takes no writes", "let WATCHWORD_REDIS_URL name the primary")
    if policy != "noeviction":
        return warned(f"its maxmemory-policy is {policy[:40]}: it forgets counters, and with them limits")
    return passed(f"version {str(about.get('redis_version', 'unknown'))[:20]}, maxmemory-policy {policy}")
