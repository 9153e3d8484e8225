"""What somebody who wants to use the service up does over and over: one call each, the number says which it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx2
import jwt

from tests.e2e.client import COOKIE, DEVICE, PASSWORD, bearer
from tests.features.api import Api
from tests.identity.scenes import HOME
from watchword import api_keys
from watchword.errors import TooManyAttempts
from watchword.features.oauth.service import ACCESS_TOKEN, CLIENT_CREDENTIALS, EXCHANGE
from watchword.identity.audit import LOCAL
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.first_administrator import FirstAdministrator
from watchword.identity.granting import Operation, unchecked
from watchword.identity.one_time import Issued
from watchword.identity.service_accounts import assertion
from watchword.identity.service_accounts.accounts import NewAccount
from watchword.ids import new_id
from watchword.storage.database import Tx
from watchword.tokens import SigningKey, sign_compact

WRONG = "wrong-wrong-wrong"
OLD_APPLICATION = {
    "legacy_jwt_secret": "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5m",
    "legacy_subject": "id:external",
    "legacy_until": "2027-02-14",
}


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
            check=unchecked,
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
    api.__dict__.setdefault("cookies_of", {})[done.tokens.access_token] = done.tokens.refresh_token
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


async def known_device(api: Api, name: str) -> str:
    """The cookie of a browser in which a user has logged in before."""
    await person(api, name)
    row = await api.kernel.database.one("SELECT id, token_version FROM ww_users WHERE username = :name", name=name)
    return "" if row is None else api.kernel.known_devices.remember(None, row["id"], row["token_version"])


async def _with_device(api: Api, name: str) -> dict[str, str]:
    return {"Cookie": f"{DEVICE}={await known_device(api, name)}"}


async def log_in_wrongly_at_home(api: Api, number: int) -> object:
    """With one stolen cookie, from ever new networks."""
    known = api.__dict__.setdefault("known", await _with_device(api, "ada"))
    return await place(api, number).post("/login", json={"username": "ada", "password": WRONG}, headers=known)


async def log_in_wrongly_on_new_devices(api: Api, number: int) -> object:
    """With ever new cookies of one account, from ever new networks."""
    known = await _with_device(api, "ada")
    return await place(api, number).post("/login", json={"username": "ada", "password": WRONG}, headers=known)


async def log_in_wrongly_at_home_many(api: Api, number: int) -> object:
    """With a cookie of each of many accounts, from one address."""
    name = f"one-of-many-{number}"
    known = await _with_device(api, name)
    return await api.post("/login", json={"username": name, "password": WRONG}, headers=known)


def _at_home(method: str, path: str, body: dict[str, str]) -> Callable[[Api, int], Awaitable[object]]:
    """Ask for the password of a logged-in user in a known browser."""

    async def wrongly_at_home(api: Api, number: int) -> object:
        token = await person(api, "eva")  # the other tries change ada's name and password
        headers = {**bearer(token), **await _with_device(api, "eva")}
        return await place(api, number).request(method, path, json=body, headers=headers)

    return wrongly_at_home


close_wrongly_at_home = _at_home("DELETE", "/profile", {"password": WRONG})
move_wrongly_at_home = _at_home("PATCH", "/profile", {"email": "n@example.org", "password": WRONG})
change_wrongly_at_home = _at_home("POST", "/profile/password", {"current_password": WRONG, "new_password": PASSWORD})
ask_to_change_wrongly_at_home = _at_home("POST", "/profile/email", {"email": "n@example.org", "password": WRONG})


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


async def exchange(api: Api, number: int) -> object:
    """Turn one token of the old application into ever another session."""
    await person(api, "ada")
    imported = "UPDATE ww_users SET imported_at = updated_at, external_id = '7' WHERE username = 'ada'"
    await api.kernel.database.run(imported)
    form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN}
    form["subject_token"] = jwt.encode({"id": 7}, OLD_APPLICATION["legacy_jwt_secret"], "HS256")
    return await place(api, number).post("/token", data=form)


async def exchange_garbage(api: Api, number: int) -> object:
    form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN, "subject_token": f"a.{number}.c"}
    return await api.post("/token", data=form)


async def _made_key(api: Api, number: int, name: str) -> dict[str, Any]:
    body = {"name": f"key {number}"}
    answer = await place(api, number).as_bearer("POST", "/api-keys", await person(api, name), json=body)
    return dict(answer.json()) | {"answer": answer}


async def make_key(api: Api, number: int) -> object:
    return (await _made_key(api, number, "ada"))["answer"]


async def make_key_many(api: Api, number: int) -> object:
    """Ever other users at one address."""
    token = await person(api, f"one-of-many-{number}")
    return await api.as_bearer("POST", "/api-keys", token, json={"name": "key"})


async def rotate_key(api: Api, number: int) -> object:
    """Each time the key that the last rotation made."""
    held: dict[str, Any] = api.__dict__.setdefault("rotated", {})
    if not held:
        held |= await _made_key(api, number, "ada")
    path = f"/api-keys/{held['about']['id']}/rotate"
    answer = await place(api, number).as_bearer("POST", path, await person(api, "ada"), json={})
    held |= answer.json() if answer.status_code == HTTPStatus.CREATED else {}
    return answer


async def make_and_delete_key(api: Api, number: int) -> object:
    made = await _made_key(api, number, "ada")
    key_id = made["about"]["id"] if "about" in made else "01a1f7a0-ad3d-72f2-aa04-000000000000"
    return await api.as_bearer("DELETE", f"/api-keys/{key_id}", await person(api, "ada"))


async def delete_no_key(api: Api, number: int) -> object:
    path = f"/api-keys/01a1f7a0-ad3d-72f2-aa04-{number:012x}"
    return await api.as_bearer("DELETE", path, await person(api, "ada"))


async def exchange_key(api: Api, number: int) -> object:
    """One key over and over: it stores when it was used, in place."""
    known = api.__dict__.get("api_key")
    if known is None:
        known = api.__dict__["api_key"] = (await _made_key(api, number, "ada"))["key"]
    form = {"grant_type": EXCHANGE, "subject_token_type": api_keys.TOKEN_TYPE, "subject_token": known}
    answer = await place(api, number).post("/token", data=form)
    assert answer.status_code in (HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS)
    return answer


async def exchange_made_up_key(api: Api, number: int) -> object:
    made_up = api_keys.make(new_id()).text
    form = {"grant_type": EXCHANGE, "subject_token_type": api_keys.TOKEN_TYPE, "subject_token": made_up}
    return await place(api, number).post("/token", data=form)


async def account_with_token(api: Api) -> str:
    """A service account's id, secret and token, with blanks between them."""
    known = api.__dict__.get("account")
    if known is None:
        wanted = NewAccount("nightly", ("read",))
        account, secret = await api.kernel.service_accounts.create(wanted, client=HOME)
        form = {"grant_type": CLIENT_CREDENTIALS, "client_id": account.id, "client_secret": f"{secret}"}
        token = (await api.post("/token", data=form)).json()["access_token"]
        known = api.__dict__["account"] = f"{account.id} {secret} {token}"
    return str(known)


async def _as_account(api: Api, number: int, path: str, *, right: bool) -> httpx2.Response:
    name, secret, token = (await account_with_token(api)).split()
    form = {"grant_type": CLIENT_CREDENTIALS, "client_id": name, "token": token}
    return await place(api, number).post(path, data=form | {"client_secret": secret if right else "wrong"})


async def account_token(api: Api, number: int) -> object:
    return await _as_account(api, number, "/token", right=True)


async def account_token_wrongly(api: Api, number: int) -> object:
    return await _as_account(api, number, "/token", right=False)


async def exchange_for_user(api: Api, number: int) -> object:
    """One token over and over: it is recorded once an hour."""
    token, known = await person(api, "ada"), api.__dict__.get("exchanging")
    if known is None:
        await api.kernel.granting.create_api(
            "other", "https://other.example", frozenset(), Operation(LOCAL, None, unchecked)
        )
        wanted = NewAccount("calls-other", ("read",), exchanges=("other",))
        account, secret = await api.kernel.service_accounts.create(wanted, client=HOME)
        known = api.__dict__["exchanging"] = {"client_id": account.id, "client_secret": f"{secret}"}
    form = {"grant_type": EXCHANGE, "subject_token_type": ACCESS_TOKEN, "subject_token": token}
    return await place(api, number).post("/token", data=form | known | {"resource": "https://other.example"})


async def introspect_as_account(api: Api, number: int) -> object:
    return await _as_account(api, number, "/introspect", right=True)


async def _by_assertion(api: Api, path: str) -> httpx2.Response:
    """Another assertion each time: the service keeps the id of each."""
    known = api.__dict__.get("signer")
    if known is None:
        key = SigningKey.generate("ES256")
        wanted = NewAccount("signer", ("read",), public_key=json.dumps(key.public_jwk()))
        account, _ = await api.kernel.service_accounts.create(wanted, client=HOME)
        known = api.__dict__["signer"] = account.id, key
    name, key = known
    now = api.clock.now()
    said = {"iss": name, "sub": name, "aud": api.kernel.settings.public_url, "exp": now + 60, "jti": new_id()}
    text = sign_compact(json.dumps(said).encode(), key)
    return await api.post(path, data={"token": "x", "client_assertion": text, "client_assertion_type": assertion.TYPE})


async def introspect_by_assertion(api: Api, number: int) -> object:
    return await _by_assertion(api, "/introspect")


async def revoke_by_assertion(api: Api, number: int) -> object:
    return await _by_assertion(api, "/revoke")


async def introspect_as_no_account(api: Api, number: int) -> object:
    return await _as_account(api, number, "/introspect", right=False)


async def revoke_as_account(api: Api, number: int) -> object:
    """One token over and over: it is refused once."""
    return await _as_account(api, number, "/revoke", right=True)


async def revoke_as_no_account(api: Api, number: int) -> object:
    return await _as_account(api, number, "/revoke", right=False)


async def introspect(api: Api, number: int) -> object:
    token = await person(api, "ada")
    key = api.__dict__.get("guard_key")
    if key is None:
        key = api.__dict__["guard_key"] = (await api.kernel.guard_keys.create("orders", client=HOME))[1]
    await api.post("/introspect", data={"token": token})
    return await api.post("/introspect", data={"token": token}, headers=bearer(key))


async def revoke(api: Api, number: int) -> object:
    return await api.post("/revoke", data={"token": await person(api, "ada"), "client_id": "watchword"})


async def register_with_address(api: Api, number: int) -> object:
    body = {"username": f"mailed-{number}", "email": f"mailed-{number}@example.org", "password": PASSWORD}
    return await api.post("/register", json=body)


def _asks(path: str) -> Callable[[Api, int], Awaitable[object]]:
    """For ever new mailboxes, from one network."""

    async def many(api: Api, number: int) -> object:
        return await api.post(path, json={"email": f"one-of-many-{number}@example.org"})

    return many


forgot_many = _asks("/password/forgot")
ask_code_many = _asks("/login/code")
ask_again_many = _asks("/email/verification")


async def asked_for(api: Api, path: str) -> str:
    """The handle of a mail that was asked for once, behind the limits' back."""
    known: dict[str, str] = api.__dict__.setdefault("asked", {})
    if path not in known:
        await person(api, "ada")
        purpose = {"/password/reset": "reset", "/email/verify": "verify"}.get(path, "login")
        address = api.kernel.asks.address("ada@example.org")

        async def unit(tx: Tx) -> Issued:
            return await api.kernel.asks.write(tx, purpose, address, client=HOME)

        known[path] = (await api.kernel.database.transact(unit)).handle
    return known[path]


async def reset_wrongly(api: Api, number: int) -> object:
    handle = await asked_for(api, "/password/reset")
    body = {"handle": handle, "code": f"{number:06d}", "new_password": "quiet-harbor-lantern"}
    return await place(api, number).post("/password/reset", json=body)


async def reset_by_garbage(api: Api, number: int) -> object:
    body = {"token": f"wwl_{number:043d}", "new_password": "quiet-harbor-lantern"}
    return await api.post("/password/reset", json=body)


async def verify_wrongly(api: Api, number: int) -> object:
    handle = await asked_for(api, "/email/verify")
    return await place(api, number).post("/email/verify", json={"handle": handle, "code": f"{number:06d}"})


@asynccontextmanager
async def registration(api: Api, number: int) -> AsyncIterator[dict[str, str]]:
    """A right code of a registration whose username is taken meanwhile."""
    await person(api, "ada")
    address = f"new-{number}@example.org"
    detail = {"email": address, "username": "ada", "username_key": "ada", "password_hash": "none"}

    async def unit(tx: Tx) -> Issued:
        return await api.kernel.one_time.issue(tx, "register", address, detail=detail)

    issued = await api.kernel.database.transact(unit)
    derived = await api.kernel.one_time.derive(issued.id, issued.seed)
    assert derived is not None
    yield {"handle": issued.handle, "code": derived.code}
    await api.kernel.database.run("DELETE FROM ww_one_time WHERE id = :id", id=issued.id)


async def verify_taken(api: Api, number: int) -> object:
    async with registration(api, number) as body:
        return await api.post("/email/verify", json=body)


@asynccontextmanager
async def verification(api: Api) -> AsyncIterator[dict[str, str]]:
    """A right code for the address of someone with a password, made behind the limits' back."""
    await person(api, "ada")
    address = api.kernel.asks.address("ada@example.org")

    async def unit(tx: Tx) -> Issued:
        row = await tx.one("UPDATE ww_users SET email_verified_at = NULL WHERE username = 'ada' RETURNING id")
        assert row is not None
        detail = {"email": address.text}
        return await api.kernel.one_time.issue(tx, "verify", address.key, user_id=row["id"], detail=detail)

    issued = await api.kernel.database.transact(unit)
    derived = await api.kernel.one_time.derive(issued.id, issued.seed)
    assert derived is not None
    yield {"handle": issued.handle, "code": derived.code}
    await api.kernel.database.run("DELETE FROM ww_one_time WHERE id = :id", id=issued.id)


async def verify_by_password(api: Api, number: int) -> object:
    async with verification(api) as body:
        return await place(api, number).post("/email/verify", json={**body, "password": PASSWORD})


async def verify_by_wrong_password(api: Api, number: int) -> object:
    async with verification(api) as body:
        return await place(api, number).post("/email/verify", json={**body, "password": WRONG})


async def undo_wrongly(api: Api, number: int) -> object:
    return await api.post("/email/undo", json={"token": f"wwl_{number:043d}"})


async def right_code(api: Api, name: str, number: int) -> dict[str, str]:
    """A right code of someone, made behind the limits' back."""
    await person(api, name)
    address = api.kernel.asks.address(f"{name}@example.org")

    async def unit(tx: Tx) -> Issued:
        issued = await api.kernel.one_time.issue(tx, "login", address.key, detail={"email": address.text})
        await tx.run(
            "UPDATE ww_one_time SET user_id = (SELECT id FROM ww_users WHERE email_key = :key) WHERE id = :id",
            key=address.key,
            id=issued.id,
        )
        await tx.run("UPDATE ww_users SET email_verified_at = 1 WHERE email_key = :key", key=address.key)
        return issued

    issued = await api.kernel.database.transact(unit)
    derived = await api.kernel.one_time.derive(issued.id, issued.seed)
    assert derived is not None
    return {"handle": issued.handle, "code": derived.code}


async def log_in_by_code(api: Api, number: int) -> object:
    body = await right_code(api, "ada", number)
    answer = await place(api, number).post("/login/code/confirm", json=body)
    await api.kernel.database.run("DELETE FROM ww_one_time")  # what this try itself made
    return answer


async def log_in_by_wrong_code(api: Api, number: int) -> object:
    """Of one mail, from ever new networks. A network asks for few mails: `ask_code_many`."""
    handle = await asked_for(api, "/login/code")
    return await place(api, number).post("/login/code/confirm", json={"handle": handle, "code": "x"})


async def log_in_by_wrong_code_many(api: Api, number: int) -> object:
    return await api.post("/login/code/confirm", json={"handle": f"wwh_{number:043d}", "code": "x"})


async def ask_to_change(api: Api, number: int) -> object:
    token = await fresh(api, "ada", number)
    body = {"email": f"ada{number}@example.net", "password": PASSWORD}
    return await _send(place(api, number), "POST", "/profile/email", token, body)


async def ask_to_change_many(api: Api, number: int) -> object:
    token = await person(api, f"one-of-many-{number}")
    return await _send(api, "POST", "/profile/email", token, {"email": "victim@example.net", "password": PASSWORD})


async def ask_to_change_wrongly(api: Api, number: int) -> object:
    token = await person(api, "ada")
    return await _send(
        place(api, number), "POST", "/profile/email", token, {"email": "new@example.net", "password": WRONG}
    )


async def administrator(api: Api) -> str:
    """An administrator's token, made behind the limits' back."""
    known: dict[str, str] = api.__dict__.setdefault("people", {})
    if "root" not in known:
        await api.kernel.users.create(
            username="root", email=None, password=None, roles=("admin",), client=LOCAL, check=unchecked
        )
        known["root"] = await fresh_token(api, "root", "10.5.0.1")
    return known["root"]


def administer(method: str, path: str) -> Callable[[Api, int], Awaitable[object]]:
    """What an administrator does to accounts, from ever new networks."""

    async def one(api: Api, number: int) -> object:
        token, other = await administrator(api), await _other(api, number)
        if path == "/admin/keys/revoke":  # the last try has revoked the key of that token
            token = await fresh_token(api, "root", f"10.5.{number}.2")
        bodies: dict[str, dict[str, object] | None] = {
            "PATCH": {"username": f"other-{number}"},
            "PUT": {"roles": [f"role-{number}"]},
            "/admin/users/{id}/metadata": {"public_metadata": {"number": number}},
            "/admin/keys/rotate": {"early": True},
            "/admin/keys/revoke": {"all": True},
            "/admin/scopes/{role}": {"scopes": [f"scope-{number % 9}"]},
            "/admin/apis": {"name": f"api-{number}", "audience": f"urn:api:{number}", "scopes": []},
            "/admin/apis/{name}": {"audience": f"urn:{number}"} if method == "PATCH" else None,
        }
        if "{name}" in path:
            await _an_api(api)
        body = None if method == "GET" else bodies.get(path) or bodies.get(method)
        sent = {} if body is None else {"json": body}
        address = path.replace("{id}", other).replace("{role}", "editor").replace("{name}", "orders")
        return await place(api, number).request(method, address, headers=bearer(token), **sent)

    return one


def administer_webhooks(method: str, path: str) -> Callable[[Api, int], Awaitable[object]]:
    """What an administrator does to webhooks."""

    async def one(api: Api, number: int) -> object:
        token, body = await administrator(api), None
        if path == "/admin/webhooks" and method == "POST":
            body = {"url": f"https://hooks.invalid/{number}", "events": ["*"]}
        elif path.endswith(("/secret", "/retry")):
            body = {}
        where = path.replace("{id}", await _webhook(api))
        sent = {} if body is None else {"json": body}
        return await place(api, number).request(method, where, headers=bearer(token), **sent)

    return one


async def _webhook(api: Api) -> str:
    """An endpoint, made again once it was removed."""
    there = await api.kernel.webhooks.all()
    if there:
        return there[0].id
    made, _ = await api.kernel.webhooks.add("https://hooks.invalid/", ("user.*",), by=Operation(LOCAL, None, unchecked))
    return made.id


async def _an_api(api: Api) -> None:
    """An API to be administered, made again once it was deleted."""
    if not api.kernel.rights.table.apis:
        await api.kernel.granting.create_api("orders", "urn:orders", frozenset(), Operation(LOCAL, None, unchecked))


async def _other(api: Api, number: int) -> str:
    """Someone to be administered: one row that is made again once it was deleted, and is not counted."""
    known: dict[str, str] = api.__dict__
    user = await api.kernel.users.find(known.get("other", ""))
    if user is None:
        user = await api.kernel.users.create(
            username=f"someone-{number}", email="someone@example.org", password=None, client=LOCAL, check=unchecked
        )
        known["other"] = user.id
    return user.id


async def make_users(api: Api, number: int) -> object:
    body = {"username": f"made-{number}", "password": PASSWORD}
    return await _send(place(api, number), "POST", "/admin/users", await administrator(api), body)


async def invite_someone_new(api: Api, number: int) -> object:
    body = {"username": f"made-{number}", "email": f"victim+{number}@example.org", "invite": True}
    return await _send(place(api, number), "POST", "/admin/users", await administrator(api), body)


async def invite(api: Api, number: int) -> object:
    path = f"/admin/users/{await _other(api, number)}/invitation"
    return await place(api, number).post(path, headers=bearer(await administrator(api)))


async def make_first_wrongly(api: Api, number: int) -> object:
    body = {"token": f"wwl_{number:043d}", "username": "first", "password": PASSWORD}
    return await api.post("/admin/first", json=body)


async def make_first_taken(api: Api, number: int) -> object:
    """With the right token, and a name that someone has."""
    await person(api, "ada")
    if "offered" not in api.__dict__:
        api.__dict__["offered"] = await FirstAdministrator(api.kernel).offer()
    body = {"token": api.__dict__["offered"], "username": "ada", "password": PASSWORD}
    return await api.post("/admin/first", json=body)
