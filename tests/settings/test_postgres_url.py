"""The URL of a PostgreSQL database: what is understood, what is refused, and that no password is ever repeated."""

from __future__ import annotations

import base64
import os

import pytest

from watchword.errors import SettingsError
from watchword.settings import Settings, load
from watchword.settings.postgres_url import read
from watchword.settings.values import Unfit

SECRET = base64.urlsafe_b64encode(os.urandom(32)).decode()


WRITES = "target_session_attrs=read-write"


@pytest.mark.parametrize(
    ("url", "dsns", "place"),
    [
        ("postgres://db/app", "postgresql://db/app", "db, database app"),
        ("postgresql+asyncpg://u:p@db:6432/app", "postgresql://u:p@db:6432/app", "db:6432, database app"),
        ("postgresql://u:p%40%2F%23@[::1]/a", "postgresql://u:p%40%2F%23@[::1]/a", "[::1], database a"),
        (
            "postgresql://u@x:y@a,b:5433/app",
            f"postgresql://u%40x:y@a/app?{WRITES} postgresql://u%40x:y@b:5433/app?{WRITES}",
            "a,b:5433, database app",
        ),
        ("postgresql:///app?host=/run/pg", "postgresql://%2Frun%2Fpg/app", "/run/pg, database app"),
        ("postgresql:///app", "postgresql:///app", "this machine, database app"),
        (
            "postgresql://db/app?sslmode=verify-full&sslrootcert=/etc/ca.pem&pgbouncer=true",
            "postgresql://db/app?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
            "db, database app",
        ),
        ("postgresql://db/app?sslmode=verify-full&sslrootcert=system", "postgresql://db/app", "db, database app"),
    ],
)
def test_what_is_understood(url: str, dsns: str, place: str) -> None:
    """Each part reaches the driver, quoted; our own parameters do not. Of several hosts one writes."""
    assert (read(url).dsns, read(url).place) == (tuple(dsns.split()), place)


def test_our_own_parameters() -> None:
    """PgBouncer said or not, the pool's size, the program's name for the server's lists."""
    url = read("postgresql://db/app?pgbouncer=true&pool_size=3&application_name=auth")
    assert (url.pgbouncer, url.connections, url.application) == (True, 3, "auth")
    assert (read("postgresql://db/app").pgbouncer, read("postgresql://db/app?pgbouncer=false").pgbouncer) == (
        None,
        False,
    )
    assert read("postgresql://db/app?sslrootcert=system").trusts_system


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:hunter2@db", "names no database"),
        ("postgresql://u:hunter2@db/", "names no database"),
        ("postgresql://u:hunter2@db/a/b", "names no database"),
        ("postgresql://u:hunter2#x@db/app", "%23"),
        ("postgresql://u:hunter2/x@db/app", "%2F"),
        ("postgresql://u:hunter2@db:http/app", "host or port"),
        ("postgresql://u:hunter2@db:70000/app", "host or port"),
        ("postgresql://u:hunter2@db:0/app", "host or port"),
        ("postgresql://u:hunter2@a,,b/app", "host or port"),
        ("postgresql://db/app?password=hunter2", "has password, which"),
        ("postgresql://db/app?channel_binding=require", "has channel_binding, which"),
        ("postgresql://db/app?hunter2%20=1", "a parameter"),
        ("postgresql://db/app?sslmode=on", "choose from"),
        ("postgresql://db/app?sslmode=require&sslmode=disable", "twice"),
        ("postgresql://db/app?sslmode=require&sslrootcert=system", "verify-full"),
        ("postgresql://db/app?sslrootcert=system&sslcert=/a.pem", "together with sslcert"),
        ("postgresql://db/app?target_session_attrs=primary-ish", "choose from"),
        ("postgresql://a,b/app?target_session_attrs=prefer-standby", "choose from"),
        ("postgresql://db/app?pgbouncer=yes", "pgbouncer"),
        ("postgresql://db/app?pool_size=0", "from 1 to 200"),
    ],
)
def test_what_is_refused(url: str, said: str) -> None:
    """In one line with a hint; the password is not in it."""
    with pytest.raises(Unfit) as refused:
        read(url)
    whole = f"{refused.value.message}; {refused.value.hint}"
    assert said in whole
    assert "hunter2" not in whole
    with pytest.raises(SettingsError) as faults:
        Settings(database_url=url, secret=SECRET)
    assert [fault.setting for fault in faults.value.faults] == ["WATCHWORD_DATABASE_URL"]


def test_a_bare_database_url_is_understood(tmp_path: object) -> None:
    """As hosting platforms set it; and no one is shown the password."""
    from pathlib import Path

    environ = {"DATABASE_URL": "postgres://u:hunter2@db/app", "WATCHWORD_SECRET": SECRET}
    loaded = load({}, environ, Path(str(tmp_path)))
    assert loaded.settings.database_url == environ["DATABASE_URL"]
    assert loaded.settings.database_path is None
    assert loaded.warnings == ()
    assert "hunter2" not in repr(loaded.settings) + str(loaded.settings.shown())
    assert loaded.settings.shown()["database_url"] == "postgres://u:********@db/app"
