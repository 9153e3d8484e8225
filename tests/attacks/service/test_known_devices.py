"""What can be done with the cookie of a known device, and what answers tell of attacked accounts (D7, D9, D10)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.client import COOKIE, DEVICE, PASSWORD, bearer, refused
from tests.features.api import Api, served
from tests.features.mailing import deliver, mailing
from watchword import base64url
from watchword.identity.devices import DEVICE_SECONDS
from watchword.identity.keys.master import Master
from watchword.identity.known_devices import LONGEST, KnownDevices

WRONG = "wrong-orbit-canvas"
NEW = "quiet-harbor-lantern"
TO = "ada@example.org"
LIMITS = {"login_limit": "4/15m", "login_account_limit": "6/15m", "login_device_limit": "3/15m"}


def place(api: Api, number: int) -> Api:
    """The same service from ever another network."""
    return api.elsewhere(f"198.{number >> 8}.{number & 255}.7")


async def log_in(api: Api, *, name: str = "ada", password: str = WRONG, device: str | None = None) -> httpx2.Response:
    """`POST /login` with this device cookie and no other."""
    headers = {} if device is None else {"Cookie": f"{DEVICE}={device}"}
    return await api.post("/login", json={"username": name, "password": password}, headers=headers)


async def a_device(api: Api, name: str = "ada", password: str = PASSWORD) -> str:
    """Log in as a browser without cookies; the device cookie that it gets."""
    async with api.elsewhere("192.0.2.77") as browser:
        await browser.log_in(name, password)
        return str(browser.cookies[DEVICE])


async def use_up(api: Api, name: str = "ada", *, first: int = 0) -> None:
    """Strangers use the account's limit up, each from a network of its own."""
    for number in range(first, first + 6):
        refused(await log_in(place(api, number), name=name), 401, "invalid_credentials")
    refused(await log_in(place(api, first + 6), name=name, password=PASSWORD), 429, "too_many_attempts")


async def test_the_owner_gets_in_and_a_stranger_with_the_password_does_not(tmp_path: Path) -> None:
    """D10: from home, and from a network that the browser was never in."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        device = await a_device(api)
        await use_up(api)
        for number in (100, 101, 102, 103):
            assert (await log_in(place(api, number), password=PASSWORD, device=device)).status_code == 200
        refused(await log_in(place(api, 104), password=PASSWORD), 429, "too_many_attempts")


def _of_another_secret(device: str, user: dict[str, Any], api: Api) -> str:
    return KnownDevices(Master((b"x" * 32,)), api.clock).remember(None, user["id"], 1)


def _changed(device: str, user: dict[str, Any], api: Api) -> str:
    raw = bytearray(base64url.decode(device))
    raw[0] ^= 1
    return base64url.encode_text(bytes(raw))


FORGERIES: dict[str, Callable[[str, dict[str, Any], Api], str]] = {
    "of another secret": _of_another_secret,
    "with another id": _changed,
    "the user's id": lambda device, user, api: user["id"],
    "spare bits": lambda device, user, api: device[:-1] + chr(ord(device[-1]) ^ 1),
    "padded": lambda device, user, api: device + "=",
    "in quotes": lambda device, user, api: f'"{device}"',
    "in capitals": lambda device, user, api: device.upper(),
    "of the version before": lambda device, user, api: api.kernel.known_devices.remember(None, user["id"], 0),
    "of the version to come": lambda device, user, api: api.kernel.known_devices.remember(None, user["id"], 2),
    "of no one": lambda device, user, api: api.kernel.known_devices.remember(None, "", 1),
    "of the name": lambda device, user, api: api.kernel.known_devices.remember(None, "ada", -1),
    "too long": lambda device, user, api: ".".join([device] * 6),
    "much too long": lambda device, user, api: device + "." + "A" * 50_000,
}


@pytest.mark.parametrize("forge", FORGERIES)
async def test_a_forged_cookie_is_a_strangers(tmp_path: Path, forge: str) -> None:
    """It is refused as if there were none."""
    async with served(tmp_path, **LIMITS) as api:
        user = await api.register("ada")
        version = await api.kernel.database.one("SELECT token_version FROM ww_users WHERE id = :id", id=user["id"])
        assert version is not None
        assert version["token_version"] == 1, "else the forgeries of versions are none"
        device = await a_device(api)
        forged = FORGERIES[forge](device, user, api)
        await use_up(api)
        refused(await log_in(place(api, 99), password=PASSWORD, device=forged), 429, "too_many_attempts")
        assert (await log_in(place(api, 99), password=PASSWORD, device=device)).status_code == 200


async def test_the_cookie_of_another_user_is_a_strangers(tmp_path: Path) -> None:
    """Anyone may have an account of their own. It is worth nothing for a name that no one has, too."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        await api.register("eve")
        device = await a_device(api, "eve")
        for name in ("ada", "nobody"):
            for number in range(6):
                refused(await log_in(place(api, number), name=name, device=device), 401, "invalid_credentials")
            refused(await log_in(place(api, 99), name=name, device=device), 429, "too_many_attempts")
        assert (await log_in(place(api, 99), name="eve", password=PASSWORD, device=device)).status_code == 200


async def test_a_stolen_cookie_yields_its_few_guesses_and_nothing_else(tmp_path: Path) -> None:
    """⚑ From ever new networks: three in a window. It opens no account, names no one, and no session is in it."""
    async with served(tmp_path, **LIMITS) as api:
        user = await api.register("ada", email=TO)
        device = await a_device(api)
        for number in range(10):
            answer = await log_in(place(api, number), device=device)
            assert answer.status_code == (401 if number < 3 else 429)
        assert (await log_in(place(api, 99), password=PASSWORD)).status_code == 200, "the owner, elsewhere, is free"
        thief = place(api, 98)
        headers = {"Cookie": f"{DEVICE}={device}; {COOKIE}={device}"}
        refused(await thief.post("/refresh", headers=headers), 401, "refresh_token_invalid")
        refused(await thief.get("/profile", headers=bearer(device)), 401, "token_malformed")
        read = base64url.decode(device)
        assert not [each for each in (user["id"], "ada", TO) if each.encode() in read]


async def test_the_owners_next_log_in_has_a_quota_of_its_own(tmp_path: Path) -> None:
    """A thief who uses the copied cookie up again and again closes nothing for longer than until then."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        stolen = await a_device(api)
        fresh = (await log_in(place(api, 50), password=PASSWORD, device=stolen)).cookies[DEVICE]
        for number in range(3):
            refused(await log_in(place(api, number), device=stolen), 401, "invalid_credentials")
        refused(await log_in(place(api, 51), password=PASSWORD, device=stolen), 429, "too_many_attempts")
        assert (await log_in(place(api, 52), password=PASSWORD, device=fresh)).status_code == 200


@pytest.mark.parametrize("tossed", ["garbage", "", "A" * 44])
async def test_F2_a_tossed_cookie_refuses_no_log_in(tmp_path: Path, tossed: str) -> None:
    """Two of the name, as a page of a sibling host may set one on loopback: neither counts, and logging in works."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        device = await a_device(api)
        for both in (f"{DEVICE}={tossed}; {DEVICE}={device}", f"{DEVICE}={device}; {DEVICE}={tossed}"):
            body = {"username": "ada", "password": PASSWORD}
            answer = await place(api, 99).post("/login", json=body, headers={"Cookie": both})
            assert answer.status_code == 200
            assert len(answer.cookies[DEVICE]) == 44, "the next one is clean"


async def test_F1_under_https_no_sibling_host_can_set_it(tmp_path: Path) -> None:
    """`__Host-`, Secure, HttpOnly, for the whole host and for it alone; the loopback name counts for nothing."""
    https = {"public_url": "https://auth.example", "trusted_proxies": "0", "email_login": "off", "docs": "on"}
    async with served(tmp_path, **LIMITS, **https) as api:
        await api.register("ada")
        answer = await log_in(place(api, 1), password=PASSWORD)
        _, line = answer.headers.get_list("set-cookie")
        pair, *flags = line.split("; ")
        name, _, device = pair.partition("=")
        assert name == f"__Host-{DEVICE}"
        assert set(flags) == {f"Max-Age={DEVICE_SECONDS}", "Path=/", "HttpOnly", "Secure", "SameSite=Strict"}
        await use_up(api)
        refused(await log_in(place(api, 99), password=PASSWORD, device=device), 429, "too_many_attempts")
        body = {"username": "ada", "password": PASSWORD}
        known = await place(api, 99).post("/login", json=body, headers={"Cookie": f"{name}={device}"})
        assert known.status_code == 200


async def test_a_flood_of_cookies_costs_nothing_and_is_replaced(tmp_path: Path) -> None:
    """As large as a head may be: it is not read, and the answer's cookie is as short as ever."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        for flood in ("A" * 60_000, ".".join(["A" * 44] * 1000), "." * 60_000):
            answer = await log_in(place(api, 1), password=PASSWORD, device=flood)
            assert answer.status_code == 200
            assert len(answer.cookies[DEVICE]) == 44
        users = [f"user-{number}" for number in range(7)]
        async with api.elsewhere("192.0.2.88") as browser:
            for name in users:
                await browser.register(name)
                await browser.log_in(name)
                assert len(browser.cookies[DEVICE]) <= LONGEST < 4096


async def test_logging_out_forgets_no_device(tmp_path: Path) -> None:
    """It is the next log-in for which it counts."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        token = await api.log_in("ada")
        before = api.cookies[DEVICE]
        answer = await api.as_bearer("POST", "/logout", token)
        assert [line.partition("=")[0] for line in answer.headers.get_list("set-cookie")] == [COOKIE]
        assert api.cookies[DEVICE] == before
        await use_up(api)
        await api.log_in("ada")


async def test_a_new_password_forgets_every_other_device(tmp_path: Path) -> None:
    """The browser in which it was changed stays known."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        elsewhere = await a_device(api)
        token = await api.log_in("ada")
        body = {"current_password": PASSWORD, "new_password": NEW}
        assert (await api.as_bearer("POST", "/profile/password", token, json=body)).status_code == 200
        await use_up(api)
        refused(await log_in(place(api, 99), password=NEW, device=elsewhere), 429, "too_many_attempts")
        await api.log_in("ada", NEW)


async def test_D10_a_forgotten_password_gets_the_owner_in(tmp_path: Path) -> None:
    """⚑ After the link of a mail the new password would be refused like a stranger's, for as long as they guess."""
    async with mailing(tmp_path, **LIMITS) as (api, box):
        await api.register("ada", email=TO)
        await use_up(api)
        async with api.elsewhere("192.0.2.55") as browser:
            await browser.post("/password/forgot", json={"email": TO})
            await deliver(api)
            form = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "null", "Accept-Language": "en"}
            ours = {**form, "Sec-Fetch-Site": "same-origin"}
            done = await browser.post(f"/links/{box.link(TO)}", content=f"new_password={NEW}", headers=ours)
            assert done.status_code == 200
            await browser.log_in("ada", NEW)
        async with api.elsewhere("192.0.2.56") as program:
            asked = (await program.post("/password/forgot", json={"email": TO})).json()
            await deliver(api)
            body = {"handle": asked["handle"], "code": box.code(TO), "new_password": PASSWORD}
            assert (await program.post("/password/reset", json=body)).status_code == 204
            await program.log_in("ada")
        refused(await log_in(place(api, 99), password=PASSWORD), 429, "too_many_attempts")


@pytest.mark.parametrize("foreign", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}])
async def test_F4_another_sites_page_does_not_write_the_cookie(tmp_path: Path, foreign: dict[str, str]) -> None:
    """It could push a user out of the user's own browser, by a link of an account of its own."""
    async with mailing(tmp_path, **LIMITS) as (api, box):
        await api.register("eve", email=TO)
        for number in range(2):
            api.clock.advance(1)
            await api.post("/password/forgot", json={"email": TO})
            await deliver(api)
            if number:
                body = {"token": box.link(TO), "new_password": NEW}
                answer = await api.post("/password/reset", json=body, headers=foreign)
                assert answer.status_code == 204
            else:
                form = {"Content-Type": "application/x-www-form-urlencoded", **foreign}
                answer = await api.post(f"/links/{box.link(TO)}", content=f"new_password={NEW}x", headers=form)
                assert answer.status_code == 200
            assert "set-cookie" not in answer.headers


async def test_the_oauth_door_knows_no_device(tmp_path: Path) -> None:
    """A program has no cookies: the one that it sends all the same counts for nothing, and it gets none."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        headers = {"Cookie": f"{DEVICE}={await a_device(api)}"}
        form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        answer = await api.post("/token", data=form, headers=headers)
        assert (answer.status_code, "set-cookie" in answer.headers) == (200, False)
        await use_up(api)
        assert (await api.post("/token", data=form, headers=headers)).status_code == 429


# --- What answers tell -----------------------------------------------------------------------------------------------


def shape(answer: httpx2.Response) -> tuple[object, ...]:
    """All bytes of an answer but the request's id."""
    body = {**answer.json(), "request_id": ""}
    headers = [(name, value) for name, value in answer.headers.multi_items() if name != "x-request-id"]
    return answer.status_code, headers, body


async def test_D7_no_byte_tells_who_exists(tmp_path: Path) -> None:
    """⚑ At the first try, at the last, over each limit, with another user's cookie; and in a second window."""
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        await api.register("eve")
        device = await a_device(api, "eve")

        async def story(name: str) -> list[tuple[object, ...]]:
            told = [shape(await log_in(place(api, 1), name=name)) for _ in range(5)]
            for _ in range(2):
                told += [shape(await log_in(place(api, number), name=name, device=device)) for number in range(2, 12)]
                told += [shape(await log_in(place(api, 20), name=name))]
                api.clock.advance(30 * 60)
            return told

        began_at = api.clock.now()
        existing = await story("ada")
        api.clock.advance(began_at + 7 * 86_400 - api.clock.now())
        assert await story("nobody") == existing
        assert {status for status, *_ in existing} == {401, 429}


async def test_C6_no_header_tells_that_an_account_is_attacked(tmp_path: Path) -> None:
    """⚑ Before its limit is used up a stranger's answers are the same to the byte, for a quiet name and for another.

    Afterwards it is refused, which tells; but neither header nor text says that others did it.
    """
    async with served(tmp_path, **LIMITS) as api:
        await api.register("ada")
        await api.register("bob")
        quiet = shape(await log_in(place(api, 1), name="bob"))
        assert ("ratelimit-policy", '"login";q=4;w=900') in quiet[1]  # type: ignore[operator]
        assert "ratelimit" not in dict(quiet[1])  # type: ignore[call-overload]
        for number in range(2, 7):
            assert shape(await log_in(place(api, number))) == quiet
        own = [await log_in(place(api, 30), name="bob") for _ in range(5)][-1]
        others = [await log_in(place(api, number)) for number in (40, 41)][-1]
        assert shape(own) == shape(others)
        assert own.headers["ratelimit"] == '"login";r=0;t=900'
        assert "account" not in str(shape(others))


async def test_C6_the_policy_is_the_same_in_every_answer(tmp_path: Path) -> None:
    """Of success, failure and refusal; and routes without limits have none."""
    async with served(tmp_path, **{**LIMITS, "session_limit": "300/1h"}) as api:
        await api.register("ada")
        answers = [await log_in(place(api, 1), password=PASSWORD)]
        answers += [await log_in(place(api, 2)) for _ in range(5)]
        answers.append(await place(api, 3).post("/login", content=b"{", headers={"Content-Type": "application/json"}))
        assert [answer.status_code for answer in answers] == [200, 401, 401, 401, 401, 429, 400]
        told = {answer.headers["ratelimit-policy"] for answer in answers}
        assert told == {'"login";q=4;w=900, "session";q=300;w=3600'}
        assert "ratelimit-policy" not in (await api.get("/livez")).headers
