"""TLS to a real server: what is checked in each mode, and what is said where the check fails.

The wheel's servers are built without TLS, so that this is Debian's.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.certificates import DAY, Authority, Signed
from tests.postgres import ABSENT, Server, running
from watchword.errors import SettingsError
from watchword.storage.postgres import Postgres

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(ABSENT is not None, reason=str(ABSENT))]
OURS, STRANGER = Authority("ours"), Authority("a stranger")
TLS = "SELECT ssl, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with TLS, which asks `ann` for a certificate."""
    with running(15) as server:
        server.place("ca.pem", OURS.certificate)
        server.sql("CREATE ROLE ann LOGIN")
        server.sql("ALTER SYSTEM SET ssl_ca_file = 'ca.pem'")
        hba = server.data / "pg_hba.conf"
        hba.write_text("hostssl all ann 127.0.0.1/32 cert\n" + hba.read_text())
        yield server


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """The file of the authority that signed the server's certificate."""
    return _written(tmp_path / "ca.pem", OURS.certificate)


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def shown(server: Server, signed: Signed) -> None:
    """Let the server show another certificate from here on."""
    server.place("server.crt", signed.certificate)
    server.place("server.key", signed.key)
    server.sql("ALTER SYSTEM SET ssl = on")
    server.reload()


async def encrypted(url: str) -> bool:
    database = await Postgres.open(url)
    row = await database.one(TLS)
    await database.close()
    assert row is not None
    return bool(row["ssl"])


def connections(port: int) -> int:
    """How many sockets of this machine are connected to a port; only those of this test are."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(row[2].endswith(f":{port:04X}") and row[3] == "01" for row in rows)


async def refused(url: str) -> str:
    with pytest.raises(SettingsError) as faults:
        await Postgres.open(url)
    for _ in range(1000):  # the driver says goodbye in TLS, which uvloop does not wait for when it is closed
        if not connections(urlsplit(url).port or 0):
            break
        await asyncio.sleep(0.01)
    (fault,) = faults.value.faults
    assert "\n" not in fault.message + fault.hint
    return f"{fault.message}; {fault.hint}"


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require", "prefer"])
async def test_the_server_is_who_it_says(server: Server, authority: Path, mode: str) -> None:
    """Every mode connects, and what is sent is encrypted."""
    shown(server, OURS.signed("127.0.0.1"))
    assert await encrypted(f"{server.url()}?sslmode={mode}&sslrootcert={authority}")


@pytest.mark.parametrize(
    ("mode", "connects"),
    [("verify-full", False), ("verify-ca", True), ("require", True), ("disable", False)],
)
async def test_a_certificate_for_another_host(server: Server, authority: Path, mode: str, connects: bool) -> None:
    """Only verify-full looks at the name."""
    shown(server, OURS.signed("db.internal"))
    url = f"{server.url()}?sslmode={mode}&sslrootcert={authority}"
    if mode == "verify-full":
        assert "write the host" in await refused(url)
    else:
        assert await encrypted(url) is connects


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca"])
async def test_a_certificate_of_a_stranger(server: Server, tmp_path: Path, authority: Path, mode: str) -> None:
    """Signed by an authority that the URL does not name: another one, or those of the system."""
    shown(server, STRANGER.signed("127.0.0.1"))
    assert "sslrootcert=" in await refused(f"{server.url()}?sslmode={mode}&sslrootcert={authority}")
    shown(server, OURS.signed("127.0.0.1"))
    other = _written(tmp_path / "other.pem", STRANGER.certificate)
    assert "name the authority" in await refused(f"{server.url()}?sslmode={mode}&sslrootcert={other}")
    assert "name the authority" in await refused(f"{server.url()}?sslrootcert=system")


async def test_require_without_an_authority_checks_nothing(server: Server) -> None:
    """As the guide says: it is encrypted, and the server may be anyone."""
    shown(server, STRANGER.signed("elsewhere.example"))
    assert await encrypted(f"{server.url()}?sslmode=require")


async def test_an_expired_certificate(server: Server, authority: Path) -> None:
    """Renew it, says the hint."""
    shown(server, OURS.signed("127.0.0.1", until=dt.datetime.now(dt.UTC) - DAY))
    for mode in ("verify-full", "verify-ca"):
        assert "renew" in await refused(f"{server.url()}?sslmode={mode}&sslrootcert={authority}")


async def test_a_client_with_a_certificate(server: Server, tmp_path: Path, authority: Path) -> None:
    """The server believes it; without one, or with another's, it says what it wants."""
    shown(server, OURS.signed("127.0.0.1"))
    url = f"{server.url(user='ann')}?sslmode=verify-full&sslrootcert={authority}"
    files = {}
    for name, signed in (("ann", OURS.signed("ann")), ("eve", OURS.signed("eve"))):
        cert = _written(tmp_path / f"{name}.pem", signed.certificate)
        key = _written(tmp_path / f"{name}.key", signed.key)
        files[name] = f"&sslcert={cert}&sslkey={key}"
    assert await encrypted(url + files["ann"])
    assert "certificate" in await refused(url)
    assert "certificate" in await refused(url + files["eve"])


async def test_files_that_are_none(server: Server, tmp_path: Path, authority: Path) -> None:
    """Missing, empty, or not what they should be: one line that says where to look."""
    shown(server, OURS.signed("127.0.0.1"))
    rubbish = _written(tmp_path / "rubbish.pem", b"rubbish")
    signed = OURS.signed("ann")
    cert, key = _written(tmp_path / "a.pem", signed.certificate), _written(tmp_path / "b.key", OURS.signed("b").key)
    for options in (
        "sslmode=verify-full",
        f"sslmode=verify-full&sslrootcert={rubbish}",
        f"sslmode=verify-full&sslrootcert={tmp_path}/absent.pem",
        f"sslmode=verify-full&sslrootcert={authority}&sslcert={cert}&sslkey={tmp_path}/absent.key",
        f"sslmode=verify-full&sslrootcert={authority}&sslcert={cert}&sslkey={key}",
        f"sslmode=verify-full&sslrootcert={authority}&sslcert={rubbish}&sslkey={key}",
    ):
        assert "sslrootcert, sslcert and sslkey" in await refused(f"{server.url()}?{options}")
