"""Log-in by a code that was sent by mail."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import COOKIE, DEVICE, PASSWORD, refused
from tests.features.api import URL, Api, served
from tests.features.mailing import deliver, mailing
from tests.identity.scenes import HOME
from tests.tutorials.reading import claims
from watchword.identity.granting import unchecked

TO = "ada@example.org"


async def ask(api: Api, email: str = TO) -> str:
    """Ask for a code; the handle."""
    answer = await api.post("/login/code", json={"email": email})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["handle"])


async def test_log_in_by_code(tmp_path: Path) -> None:
    """Tokens and the cookie, as by password; the address is confirmed by it; the code works once."""
    async with mailing(tmp_path, email_verification="required") as (api, box):
        await api.kernel.users.create(username="ada", email=TO, password=None, client=HOME, check=unchecked)
        handle = await ask(api)
        await deliver(api)
        assert "/links/" not in box.texts(TO)[0], "a code is for the client that asked, and a link would be for anyone"
        body = {"handle": handle, "code": box.code(TO)}
        answer = await api.post("/login/code/confirm", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["user"]["username"] == "ada"
        assert claims(answer.json()["access_token"])["amr"] == ["otp"]
        assert api.cookies[COOKIE].startswith("wwr_")
        user = await api.as_bearer("GET", "/profile", answer.json()["access_token"])
        assert user.json()["email_verified"] is True
        refused(await api.post("/login/code/confirm", json=body), 401, "invalid_credentials")


async def test_a_stranger_who_registered_the_address_shares_no_account_with_its_owner(tmp_path: Path) -> None:
    """⚑ The stranger knows the password. The owner gets in by setting a new one, and the stranger's sessions end."""
    async with mailing(tmp_path, email_verification="optional") as (mallory, box):
        await mallory.register("mallory", email=TO)
        strangers = await mallory.log_in("mallory")
        api = mallory.elsewhere()
        handle = await ask(api)
        await deliver(api)
        body = {"handle": handle, "code": box.code(TO)}
        refused(await api.post("/login/code/confirm", json=body), 403, "email_unverified")
        asked = await api.post("/password/forgot", json={"email": TO})
        await deliver(api)
        body = {"handle": asked.json()["handle"], "code": box.code(TO), "new_password": "quiet-harbor-lantern"}
        assert (await api.post("/password/reset", json=body)).status_code == 204
        refused(await api.as_bearer("GET", "/profile", strangers), 401, "token_revoked")
        handle = await ask(api)
        await deliver(api)
        body = {"handle": handle, "code": box.code(TO)}
        assert (await api.post("/login/code/confirm", json=body)).status_code == 200


async def test_every_refusal_is_the_same(tmp_path: Path) -> None:
    """Of an unknown address, a wrong code, a disabled account, a handle that no one was given."""
    async with mailing(tmp_path) as (api, _):
        await api.register("ada", email=TO)
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
        await api.register("closed", email="closed@example.org")
        handles = [await ask(api, email) for email in (TO, "nobody@example.org", "closed@example.org")]
        await deliver(api)
        await api.kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE username = 'closed'")
        answers = [
            await api.post("/login/code/confirm", json={"handle": handle, "code": "x"})
            for handle in (*handles, "wwh_" + "A" * 43, "", "x" * 1000)
        ]
        for answer in answers:
            refused(answer, 401, "invalid_credentials")
        assert len({answer.json()["detail"] for answer in answers}) == 1


async def test_F5_another_sites_page_logs_no_one_in(tmp_path: Path) -> None:
    """It would be logged in as someone else."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
        handle = await ask(api)
        await deliver(api)
        body = {"handle": handle, "code": box.code(TO)}
        foreign = await api.post("/login/code/confirm", json=body, headers={"Origin": "https://evil.example"})
        refused(foreign, 403, "origin_refused")
        assert (await api.post("/login/code/confirm", json=body)).status_code == 200


async def test_wrong_codes_of_an_account_have_an_end(tmp_path: Path) -> None:
    """With ever new handles from ever new networks, too: where an operator limits no mail."""
    async with mailing(tmp_path, code_account_limit="6/15m") as (api, _):
        await api.register("ada", email=TO)
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
        statuses = []
        for number in range(4):
            place = api.elsewhere(f"198.51.{number}.7")
            handle = await ask(place)
            for _ in range(2):
                answer = await place.post("/login/code/confirm", json={"handle": handle, "code": "x"})
                statuses.append(answer.status_code)
        assert statuses == [401] * 6 + [429] * 2


async def test_the_codes_of_one_mail_have_an_end(tmp_path: Path) -> None:
    """From ever new networks; another mail is not touched by it."""
    async with mailing(tmp_path, code_limit="2/1d") as (api, box):
        await api.register("ada", email=TO)
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
        handle = await ask(api)
        for number, status in enumerate((401, 401, 429, 429)):
            async with api.elsewhere(f"198.51.{number}.7") as place:
                answer = await place.post("/login/code/confirm", json={"handle": handle, "code": "x"})
                assert answer.status_code == status
        handle = await ask(api)
        await deliver(api)
        body = {"handle": handle, "code": box.code(TO)}
        assert (await api.post("/login/code/confirm", json=body)).status_code == 200


async def test_D10_it_stays_open_when_the_passwords_tries_are_used_up(tmp_path: Path) -> None:
    """By strangers everywhere, and at the owner's own address: reading one's mail is another proof."""
    limits = {"login_account_limit": "2/15m", "login_address_limit": "3/15m"}
    async with mailing(tmp_path, **limits) as (api, box):
        await api.register("ada", email=TO)
        await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
        wrong = {"username": "ada", "password": "wrong-orbit-canvas"}
        for number in range(2):
            async with api.elsewhere(f"198.51.{number}.7") as place:
                refused(await place.post("/login", json=wrong), 401, "invalid_credentials")
        for number in range(3):
            await api.post("/login", json={"username": f"nobody{number}", "password": "wrong-orbit-canvas"})
        refused(await api.post("/login", json={**wrong, "password": PASSWORD}), 429, "too_many_attempts")
        handle = await ask(api)
        await deliver(api)
        answer = await api.post("/login/code/confirm", json={"handle": handle, "code": box.code(TO)})
        assert answer.status_code == 200, answer.text
        assert DEVICE in api.cookies
        assert await api.log_in("ada"), "and from then on this browser is known"


@pytest.mark.parametrize("way", ["api", "page"])
async def test_strangers_do_not_use_up_the_codes_of_a_known_device(tmp_path: Path, way: str) -> None:
    """⚑ Ten requests a day by anyone, from anywhere, once ended log-in by code. The owner's have an end as well."""
    async with mailing(tmp_path, mail_limit="2/1d") as (api, box):
        for name, mail in (("ada", TO), ("eve", "eve@example.org")):
            await api.register(name, email=mail)
        stranger = api.elsewhere()
        await stranger.log_in("eve")
        for _ in range(3):
            await ask(stranger)
        await deliver(api)
        assert len(box.texts(TO)) == 2
        await api.log_in("ada")
        for _ in range(3):
            if way == "api":
                await ask(api)
            else:
                here = {"Sec-Fetch-Site": "same-origin", "Origin": URL}
                form = {"email": TO, "next": ""}
                assert (await api.post("/account/code", data=form, headers=here)).status_code == 200
        await deliver(api)
        assert len(box.texts(TO)) == 4


async def test_a_device_cookie_of_any_length_asks_for_a_code(tmp_path: Path) -> None:
    """What cannot be one is not kept."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        for number, cookie in enumerate(("x" * 4000, "x", ".", "")):
            answer = await api.post("/login/code", json={"email": TO}, headers={"Cookie": f"{DEVICE}={cookie}"})
            assert answer.status_code == 202
            await deliver(api)
            assert len(box.texts(TO)) == number + 1
        kept = await api.kernel.database.scan("SELECT detail FROM ww_one_time")
        assert max(len(row["detail"]) for row in kept) < 300


async def test_it_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    """Both routes."""
    async with served(tmp_path, email_login="off") as api:
        refused(await api.post("/login/code", json={"email": TO}), 403, "email_login_off")
        body = {"handle": "wwh_" + "A" * 43, "code": "123456"}
        refused(await api.post("/login/code/confirm", json=body), 403, "email_login_off")
