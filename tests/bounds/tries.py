"""What somebody who wants to use the service up does over and over: one call each, the number says which it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import httpx2

from tests.e2e.client import COOKIE, PASSWORD, bearer
from tests.features.api import Api
from tests.identity.scenes import HOME
from watchword.errors import TooManyAttempts
from watchword.identity.login import Candidate, Factor, Proof

WRONG = "wrong-wrong-wrong"


async def _proven(_: Candidate | None) -> Proof | None:
    return Proof("pwd")


async def person(api: Api, name: str) -> str:
    """Make somebody behind the limits' back, once, and hold an access token of theirs: the token, "" at a limit."""
    known: dict[str, str] = api.__dict__.setdefault("people", {})
    if name not in known:
        hashed = await api.kernel.hasher.hash(PASSWORD, address=None) if "hash" not in known else known["hash"]
        known["hash"] = hashed
        user = await api.kernel.users.create(
            username=name,
            email=f"{name}@example.org",
            password=None,
            client=HOME._replace(address=f"10.9.{len(known)}.1"),
        )
        await api.kernel.database.run("UPDATE ww_users SET password_hash = :h WHERE id = :id", h=hashed, id=user.id)
        known[name] = await fresh_token(api, name, f"10.8.{len(known)}.1")
    return known[name]


async def fresh_token(api: Api, name: str, address: str) -> str:
    """A token of a new session, "" at a limit."""
    try:
        done = await api.kernel.login.attempt(
            name, Factor(_proven), client=HOME._replace(address=address), client_id="watchword"
        )
    except TooManyAttempts:
        return ""
    return done.tokens.access_token


def place(api: Api, number: int) -> Api:
    """The same service from ever another network."""
    return api.elsewhere(f"198.51.{number}.7")


def get(path: str) -> Callable[[Api, int], Awaitable[object]]:
    """Read, with a token and without."""

    async def read(api: Api, number: int) -> object:
        token = await person(api, "reader")
        await api.get(path)
        return await api.get(path, headers=bearer(token))

    return read


async def _send(api: Api, method: str, path: str, token: str, body: Any) -> httpx2.Response:
    return await api.request(method, path, json=body, headers=bearer(token))


async def register(api: Api, number: int) -> object:
    return await api.post("/register", json={"username": f"new-{number}", "password": PASSWORD})


async def register_taken(api: Api, number: int) -> object:
    await person(api, "ada")
    return await api.post(
        "/register", json={"username": "ada", "email": f"x{number}@example.org", "password": PASSWORD}
    )


async def rename(api: Api, number: int) -> object:
    token = await person(api, "ada")
    return await _send(place(api, number), "PATCH", "/profile", token, {"username": f"ada-{number % 2}"})


async def rename_many(api: Api, number: int) -> object:
    token = await person(api, f"one-of-many-{number}")
    return await _send(api, "PATCH", "/profile", token, {"username": f"renamed-{number}"})


async def same_name(api: Api, number: int) -> object:
    token = await person(api, "ada")
    return await _send(place(api, number), "PATCH", "/profile", token, {"username": " ada "})


async def taken_name(api: Api, number: int) -> object:
    await person(api, "bob")
    token = await person(api, "ada")
    return await _send(place(api, number), "PATCH", "/profile", token, {"username": "bob"})


async def taken_name_many(api: Api, number: int) -> object:
    await person(api, "bob")
    token = await person(api, f"one-of-many-{number}")
    return await _send(api, "PATCH", "/profile", token, {"username": "bob"})


async def flip_address(api: Api, number: int) -> object:
    token = await fresh(api, "ada", number)
    body = {"email": f"ada{number % 2}@example.net", "password": PASSWORD}
    return await _send(place(api, number), "PATCH", "/profile", token, body)


async def same_address(api: Api, number: int) -> object:
    token = await person(api, "ada")
    body = {"email": "ada@example.org", "password": PASSWORD}
    return await _send(place(api, number), "PATCH", "/profile", token, body)


async def wrong_password_for_address(api: Api, number: int) -> object:
    token = await person(api, "ada")
    return await _send(place(api, number), "PATCH", "/profile", token, {"email": "n@example.org", "password": WRONG})


async def close_wrongly(api: Api, number: int) -> object:
    token = await person(api, "ada")
    return await _send(place(api, number), "DELETE", "/profile", token, {"password": WRONG})


async def close_many(api: Api, number: int) -> object:
    token = await person(api, f"one-of-many-{number}")
    return await _send(api, "DELETE", "/profile", token, {"password": PASSWORD})


async def log_in(api: Api, number: int) -> object:
    await person(api, "ada")
    return await place(api, number).post("/login", json={"username": "ada", "password": PASSWORD})


async def log_in_many(api: Api, number: int) -> object:
    name = f"one-of-many-{number}"
    await person(api, name)
    return await api.post("/login", json={"username": name, "password": PASSWORD})


async def log_in_wrongly(api: Api, number: int) -> object:
    await person(api, "ada")
    return await place(api, number).post("/login", json={"username": "ada", "password": WRONG})


async def log_in_wrongly_many(api: Api, number: int) -> object:
    name = f"one-of-many-{number}"
    await person(api, name)
    return await api.post("/login", json={"username": name, "password": WRONG})


async def log_in_as_nobody(api: Api, number: int) -> object:
    return await api.post("/login", json={"username": f"nobody-{number}", "password": WRONG})


async def fresh(api: Api, name: str, number: int) -> str:
    await person(api, name)
    return await fresh_token(api, name, f"10.7.{number}.1")


async def change_password(api: Api, number: int) -> object:
    token = await fresh(api, "ada", number)
    body = {"current_password": PASSWORD, "new_password": PASSWORD}
    return await _send(place(api, number), "POST", "/profile/password", token, body)


async def change_password_wrongly(api: Api, number: int) -> object:
    token = await person(api, "ada")
    body = {"current_password": WRONG, "new_password": PASSWORD}
    return await _send(place(api, number), "POST", "/profile/password", token, body)


async def cookie(api: Api) -> str:
    """The refresh cookie of one session, as it is now."""
    if "cookie" not in api.__dict__:
        await person(api, "ada")
        done = await api.kernel.login.attempt(
            "ada", Factor(_proven), client=HOME._replace(address="10.6.0.1", agent="laptop"), client_id="watchword"
        )
        api.__dict__["cookie"] = done.tokens.refresh_token
    return str(api.__dict__["cookie"])


async def refresh(api: Api, number: int) -> object:
    answer = await api.refresh_with(await cookie(api))
    api.__dict__["cookie"] = answer.cookies[COOKIE]
    return answer


async def refresh_garbage(api: Api, number: int) -> object:
    return await api.refresh_with(f"wwr1_{number}")


async def refresh_copies(api: Api, number: int) -> object:
    old = api.__dict__.setdefault("old", await cookie(api))
    if number == 0:
        for _ in range(3):
            await refresh(api, number)
        api.clock.advance(120)
    return await api.refresh_with(old)


async def refresh_elsewhere(api: Api, number: int) -> object:
    """The holder rotates, and shows the same token again from another network at once."""
    before = await cookie(api)
    await refresh(api, number)
    return await place(api, 1).refresh_with(before)


async def log_out(api: Api, number: int) -> object:
    return await api.post("/logout", headers=bearer(await person(api, "ada")))


async def log_out_garbage(api: Api, number: int) -> object:
    return await api.post("/logout", headers=bearer(f"{number}.b.c"))


async def end_others(api: Api, number: int) -> object:
    return await api.as_bearer("DELETE", "/sessions", await person(api, "ada"))


async def end_others_of_many(api: Api, number: int) -> object:
    """Open one and end it, over and over: the log-ins end."""
    token = await person(api, "ada")
    await fresh(api, "ada", number)
    return await api.as_bearer("DELETE", "/sessions", token)


async def end_one(api: Api, number: int) -> object:
    token = await person(api, "ada")
    return await api.as_bearer("DELETE", f"/sessions/01a1f7a0-ad3d-72f2-aa04-{number:012x}", token)


async def token(api: Api, number: int) -> object:
    await person(api, "ada")
    form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
    return await place(api, number).post("/token", data=form)


async def token_wrongly(api: Api, number: int) -> object:
    form = {"grant_type": "password", "username": f"nobody-{number}", "password": WRONG}
    return await api.post("/token", data=form)


async def introspect(api: Api, number: int) -> object:
    token = await person(api, "ada")
    key = api.__dict__.get("guard_key")
    if key is None:
        key = api.__dict__["guard_key"] = (await api.kernel.guard_keys.create("orders", client=HOME))[1]
    await api.post("/introspect", data={"token": token})
    return await api.post("/introspect", data={"token": token}, headers=bearer(key))


async def revoke(api: Api, number: int) -> object:
    return await api.post("/revoke", data={"token": await person(api, "ada"), "client_id": "watchword"})
