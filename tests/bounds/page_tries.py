"""What is done over and over by the forms of the pages, as `tries` by the JSON routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tests.bounds import tries
from tests.e2e.client import COOKIE, DEVICE, PASSWORD
from tests.features.api import Api
from tests.pages.person import SENT_BY_US
from watchword.pages.tokens import FormTokens

HERE = "127.0.0.1"


def held(api: Api, token: str) -> tuple[str, str]:
    """The refresh cookie and the form token of the session of an access token; empty at a limit."""
    if not token:
        return "", ""
    form = FormTokens(api.kernel.master.keys("form"))
    sid = api.kernel.verifier.verify_expired(token).sid or ""
    return api.__dict__["cookies_of"][token], form.of(sid)


async def send(api: Api, address: str, path: str, token: str = "", device: str = "", **fields: str) -> object:
    """Send a form from an address, with the cookie and the form token of a session, and a device cookie."""
    cookie, form = held(api, token)
    sent = "; ".join(f"{name}={value}" for name, value in ((COOKIE, cookie), (DEVICE, device)) if value)
    headers = {**SENT_BY_US, **({"Cookie": sent} if sent else {})}
    return await api.elsewhere(address).post(path, data={"token": form or "x", **fields}, headers=headers)


def away(number: int) -> str:
    """Ever another network."""
    return f"198.51.{number}.7"


def get(path: str) -> Callable[[Api, int], Awaitable[object]]:
    """Open a page, logged in and not."""

    async def read(api: Api, number: int) -> object:
        cookie, _ = held(api, await tries.person(api, "reader"))
        await api.elsewhere(HERE).get(path, headers={"Cookie": f"{COOKIE}={cookie}"})
        return await api.elsewhere(HERE).get(path)

    return read


async def log_in(api: Api, number: int) -> object:
    await tries.person(api, "ada")
    return await send(api, away(number), "/account/login", username="ada", password=PASSWORD)


async def log_in_many(api: Api, number: int) -> object:
    name = f"one-of-many-{number}"
    await tries.person(api, name)
    return await send(api, HERE, "/account/login", username=name, password=PASSWORD)


async def log_in_wrongly(api: Api, number: int) -> object:
    await tries.person(api, "ada")
    return await send(api, away(number), "/account/login", username="ada", password=tries.WRONG)


async def log_in_wrongly_many(api: Api, number: int) -> object:
    name = f"one-of-many-{number}"
    await tries.person(api, name)
    return await send(api, HERE, "/account/login", username=name, password=tries.WRONG)


async def log_in_wrongly_at_home(api: Api, number: int) -> object:
    """With one stolen device cookie, from ever new networks."""
    device = api.__dict__.setdefault("known by page", await tries.known_device(api, "ada"))
    return await send(api, away(number), "/account/login", device=device, username="ada", password=tries.WRONG)


async def log_in_wrongly_at_home_many(api: Api, number: int) -> object:
    """With a device cookie of each of many accounts, from one address."""
    name = f"one-of-many-{number}"
    device = await tries.known_device(api, name)
    return await send(api, HERE, "/account/login", device=device, username=name, password=tries.WRONG)


def _at_home(path: str, **fields: str) -> Callable[[Api, int], Awaitable[object]]:
    """Fill in a form of the account with a wrong password, in a known browser."""

    async def wrongly_at_home(api: Api, number: int) -> object:
        token = await tries.person(api, "eva")
        device = await tries.known_device(api, "eva")
        return await send(api, away(number), path, token, device, password=tries.WRONG, **fields)

    return wrongly_at_home


change_password_wrongly_at_home = _at_home("/account/password", new_password=PASSWORD)
change_address_wrongly_at_home = _at_home("/account/email", email="n@example.net")
close_wrongly_at_home = _at_home("/account/close")


async def log_in_as_nobody(api: Api, number: int) -> object:
    return await send(api, HERE, "/account/login", username=f"nobody-{number}", password=tries.WRONG)


async def register(api: Api, number: int) -> object:
    return await send(api, HERE, "/account/register", username=f"new-{number}", password=PASSWORD)


async def register_taken(api: Api, number: int) -> object:
    await tries.person(api, "ada")
    fields = {"username": "ada", "email": f"x{number}@example.org", "password": PASSWORD}
    return await send(api, HERE, "/account/register", **fields)


async def register_with_address(api: Api, number: int) -> object:
    fields = {"username": f"mailed-{number}", "email": f"mailed-{number}@example.org", "password": PASSWORD}
    return await send(api, HERE, "/account/register", **fields)


def _asks(path: str) -> Callable[[Api, int], Awaitable[object]]:
    async def many(api: Api, number: int) -> object:
        return await send(api, HERE, path, email=f"one-of-many-{number}@example.org")

    return many


forgotten_many = _asks("/account/forgotten")
verify_many = _asks("/account/verify")
ask_code_many = _asks("/account/code")


async def log_in_by_code(api: Api, number: int) -> object:
    fields = await tries.right_code(api, "ada", number)
    answer = await send(api, away(number), "/account/code/confirm", **fields)
    await api.kernel.database.run("DELETE FROM ww_one_time")  # what this try itself made
    return answer


async def log_in_by_wrong_code(api: Api, number: int) -> object:
    """Of one mail, from ever new networks."""
    handle = await tries.asked_for(api, "/login/code")
    return await send(api, away(number), "/account/code/confirm", handle=handle, code="x")


async def log_in_by_wrong_code_many(api: Api, number: int) -> object:
    return await send(api, HERE, "/account/code/confirm", handle=f"wwh_{number:043d}", code="x")


async def reset_wrongly(api: Api, number: int) -> object:
    handle = await tries.asked_for(api, "/password/reset")
    fields = {"handle": handle, "code": f"{number:06d}", "new_password": "quiet-harbor-lantern"}
    return await send(api, away(number), "/account/reset", **fields)


async def confirm_wrongly(api: Api, number: int) -> object:
    handle = await tries.asked_for(api, "/email/verify")
    return await send(api, away(number), "/account/confirm", handle=handle, code=f"{number:06d}")


async def confirm_taken(api: Api, number: int) -> object:
    async with tries.registration(api, number) as fields:
        return await send(api, HERE, "/account/confirm", **fields)


async def confirm_by_password(api: Api, number: int) -> object:
    async with tries.verification(api) as fields:
        return await send(api, away(number), "/account/confirm", **fields, password=PASSWORD)


async def confirm_by_wrong_password(api: Api, number: int) -> object:
    async with tries.verification(api) as fields:
        return await send(api, away(number), "/account/confirm", **fields, password=tries.WRONG)


async def change_password(api: Api, number: int) -> object:
    token = await tries.fresh(api, "ada", number)
    return await send(api, away(number), "/account/password", token, password=PASSWORD, new_password=PASSWORD)


async def change_password_wrongly(api: Api, number: int) -> object:
    token = await tries.person(api, "ada")
    return await send(api, away(number), "/account/password", token, password=tries.WRONG, new_password=PASSWORD)


async def change_address(api: Api, number: int) -> object:
    token = await tries.fresh(api, "ada", number)
    return await send(
        api, away(number), "/account/email", token, email=f"ada{number % 2}@example.net", password=PASSWORD
    )


async def change_address_wrongly(api: Api, number: int) -> object:
    token = await tries.person(api, "ada")
    return await send(api, away(number), "/account/email", token, email="n@example.net", password=tries.WRONG)


async def taken_address(api: Api, number: int) -> object:
    await tries.person(api, "bob")
    token = await tries.fresh(api, "ada", number)
    return await send(api, away(number), "/account/email", token, email="bob@example.org", password=PASSWORD)


async def taken_address_many(api: Api, number: int) -> object:
    await tries.person(api, "bob")
    token = await tries.person(api, f"one-of-many-{number}")
    return await send(api, HERE, "/account/email", token, email="bob@example.org", password=PASSWORD)


async def close_wrongly(api: Api, number: int) -> object:
    token = await tries.person(api, "ada")
    return await send(api, away(number), "/account/close", token, password=tries.WRONG)


async def close_many(api: Api, number: int) -> object:
    token = await tries.person(api, f"one-of-many-{number}")
    return await send(api, HERE, "/account/close", token, password=PASSWORD)


async def end_others(api: Api, number: int) -> object:
    return await send(api, HERE, "/account/sessions/end", await tries.person(api, "ada"))


async def end_one(api: Api, number: int) -> object:
    token = await tries.person(api, "ada")
    return await send(api, HERE, "/account/sessions/end", token, session=f"01a1f7a0-ad3d-72f2-aa04-{number:012x}")


async def log_out(api: Api, number: int) -> object:
    return await send(api, HERE, "/account/logout", await tries.person(api, "ada"))


async def log_out_without_a_token(api: Api, number: int) -> object:
    cookie, _ = held(api, await tries.person(api, "ada"))
    headers = {**SENT_BY_US, "Cookie": f"{COOKIE}={cookie}"}
    return await api.elsewhere(HERE).post("/account/logout", data={"token": "x"}, headers=headers)
