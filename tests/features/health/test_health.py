"""Health over HTTP."""

from __future__ import annotations

from tests.features.api import Api
from watchword.errors import StorageUnavailable


async def test_livez_checks_nothing(api: Api) -> None:
    """200 as long as the process answers, also when the database is gone."""
    await api.kernel.database.close()
    answer = await api.get("/livez")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


async def test_readyz_names_its_checks(api: Api) -> None:
    """200 when a request could be served; `/healthz` says the same."""
    for path in ("/readyz", "/healthz"):
        answer = await api.get(path)
        assert answer.json() == {"status": "ok", "checks": {"database": True, "migrations": True, "keys": True}}


async def test_readyz_is_503_without_a_database(api: Api) -> None:
    """C7: with `Retry-After`, and saying which check failed; never a 401 or a 500 for a fault of ours."""
    await api.kernel.database.close()
    answer = await api.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["checks"]["database"] is False
    assert answer.json()["checks"]["keys"] is True
    assert answer.headers["retry-after"] == "1"


async def test_C7_a_lost_database_is_nobodys_wrong_password(api: Api) -> None:
    """Every route that needs it says 503 and when to come back; the token check needs none and still refuses."""
    token = await api.newcomer()
    await api.kernel.database.close()
    login = {"username": "ada", "password": "plum-orbit-canvas"}
    for answer in (
        await api.post("/login", json=login),
        await api.post("/register", json=login),
        await api.as_bearer("GET", "/profile", token),
        await api.post("/refresh"),
        await api.post("/logout"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (503, StorageUnavailable.code), answer.text
        assert "closed" not in answer.text
    grant = await api.post("/token", data={"grant_type": "password", **login})
    assert (grant.status_code, grant.json()["error"]) == (503, "temporarily_unavailable")
    assert (await api.get("/profile")).status_code == 401
