"""An account that a stranger made with someone's address: its owner never shares it with the stranger."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from tests.e2e.client import COOKIE, PASSWORD, bearer, fields, refused
from tests.features.api import Api
from tests.features.mail.test_mail import OTHER, TO, verified
from tests.features.mailing import deliver, mailing
from tests.identity.scenes import HOME
from tests.mail.mailbox import Mailbox
from tests.pages.person import SENT_BY_US
from watchword.identity.administration import unchecked
from watchword.identity.identifiers import typed

Both = tuple[Api, Mailbox]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def confirmed(api: Api) -> bool:
    """Whether someone's address is."""
    user = await api.kernel.users.find_by(typed(TO))
    return user is not None and user.email_verified_at is not None


async def by_code(api: Api, box: Mailbox) -> httpx2.Response:
    """Log in by a code."""
    handle = (await api.post("/login/code", json={"email": TO})).json()["handle"]
    await deliver(api)
    return await api.post("/login/code/confirm", json={"handle": handle, "code": box.code(TO)})


class TestAStranger:
    """Mallory registers with Ada's address and stays logged in."""

    @pytest.fixture
    async def scene(self, both: Both) -> tuple[Api, Api, Mailbox, str]:
        api, box = both
        await api.register("mallory", email=TO)
        token = await api.log_in("mallory")
        await deliver(api)
        return api, api.elsewhere("203.0.113.50", "ada"), box, token

    async def test_the_owner_does_not_confirm_it(self, scene: tuple[Api, Api, Mailbox, str]) -> None:
        """⚑ Not by the link, nor by a code that the owner asks for; neither is used up."""
        _, ada, box, _ = scene
        link = {"token": box.link(TO)}
        assert fields(await ada.post("/email/verify", json=link)) == {"password": "required"}
        refused(
            await ada.post("/email/verify", json={**link, "password": "not-of-mallory"}), 401, "invalid_credentials"
        )
        handle = (await ada.post("/email/verification", json={"email": TO})).json()["handle"]
        await deliver(ada)
        body = {"handle": handle, "code": box.code(TO)}
        assert fields(await ada.post("/email/verify", json=body)) == {"password": "required"}
        assert not await confirmed(ada)

    async def test_the_page_says_what_to_do(self, scene: tuple[Api, Api, Mailbox, str]) -> None:
        """In the reader's language."""
        _, ada, box, _ = scene
        path, german = f"/links/{box.link(TO)}", {**SENT_BY_US, **FORM, "Accept-Language": "de"}
        assert 'autocomplete="current-password"' in (await ada.get(path)).text
        answer = await ada.post(path, headers=german)
        assert (answer.status_code, "setzen Sie ein neues" in answer.text) == (422, True)
        wrong = await ada.post(path, content="password=not-of-mallory", headers=german)
        assert wrong.status_code == 401
        assert not await confirmed(ada)

    async def test_no_code_logs_the_owner_in(self, scene: tuple[Api, Api, Mailbox, str]) -> None:
        """⚑ The answer says why, after the right code only; the stranger's own browser does not change that."""
        _, ada, box, _ = scene
        refused(await by_code(ada, box), 403, "email_unverified")
        assert not await confirmed(ada)

    async def test_a_new_password_makes_it_the_owners(self, scene: tuple[Api, Api, Mailbox, str]) -> None:
        """⚑ Everything that the stranger has ends: session, password, API keys, links."""
        mallory, ada, box, token = scene
        made = await mallory.as_bearer("POST", "/api-keys", token, json={"name": "x"})
        assert made.status_code == 201, made.text
        body = {"email": OTHER, "password": PASSWORD}
        assert (await mallory.as_bearer("POST", "/profile/email", token, json=body)).status_code == 202
        await ada.post("/password/forgot", json={"email": TO})
        await deliver(ada)
        body = {"token": box.link(TO), "new_password": "quiet-harbor-lantern"}
        assert (await ada.post("/password/reset", json=body)).status_code == 204
        refused(await mallory.post("/refresh"), 401, "session_ended")
        refused(await mallory.post("/email/verify", json={"token": box.link(OTHER)}), 400, "one_time_invalid")
        login = await mallory.post("/login", json={"username": "mallory", "password": PASSWORD})
        refused(login, 401, "invalid_credentials")
        assert await ada.kernel.database.scan("SELECT id FROM ww_api_keys") == []
        assert await confirmed(ada)
        assert (await by_code(ada, box)).status_code == 200


class TestTheSamePerson:
    """Registers and confirms."""

    async def test_in_the_same_browser_nothing_is_asked(self, both: Both) -> None:
        """By what registering left there, before any log-in."""
        api, box = both
        await api.register("ada", email=TO)
        await deliver(api)
        assert (await api.post(f"/links/{box.link(TO)}", headers={**SENT_BY_US, **FORM})).status_code == 200
        assert await confirmed(api)

    async def test_a_session_shows_it_too(self, both: Both) -> None:
        """Where the browser keeps that cookie only."""
        api, box = both
        await api.register("ada", email=TO)
        await api.log_in("ada")
        cookie = api.cookies[COOKIE]
        api.cookies.clear()
        await deliver(api)
        foreign = {"Cookie": f"{COOKIE}={cookie}", "Origin": "https://evil.example"}
        body = {"token": box.link(TO)}
        assert fields(await api.post("/email/verify", json=body, headers=foreign)) == {"password": "required"}
        done = await api.post("/email/verify", json=body, headers={"Cookie": f"{COOKIE}={cookie}"})
        assert done.status_code == 204
        assert (await api.refresh_with(cookie)).status_code == 200, "the session goes on"

    async def test_another_users_session_shows_nothing(self, both: Both) -> None:
        """⚑ The owner of the mailbox has an account of another name in that browser."""
        api, box = both
        await api.register("mallory", email=TO)
        await deliver(api)
        ada = api.elsewhere()
        await ada.register("ada")
        await ada.log_in("ada")
        assert fields(await ada.post("/email/verify", json={"token": box.link(TO)})) == {"password": "required"}

    async def test_elsewhere_by_the_password(self, both: Both) -> None:
        """On the phone; what was there before stays."""
        api, box = both
        await api.register("ada", email=TO)
        token = await api.log_in("ada")
        await deliver(api)
        phone = api.elsewhere()
        body = {"token": box.link(TO), "password": PASSWORD}
        assert (await phone.post("/email/verify", json=body)).status_code == 204
        assert (await api.get("/profile", headers=bearer(token))).json()["email_verified"] is True

    async def test_a_code_in_the_same_browser_logs_in(self, both: Both) -> None:
        """And confirms the address."""
        api, box = both
        await api.register("ada", email=TO)
        await deliver(api)
        assert (await by_code(api, box)).status_code == 200
        assert await confirmed(api)

    async def test_an_account_that_no_one_is_in_needs_no_more(self, both: Both) -> None:
        """An operator made it without a password."""
        api, box = both
        await api.kernel.users.create(username="ada", email=TO, password=None, client=HOME, check=unchecked)
        await api.post("/email/verification", json={"email": TO})
        await deliver(api)
        assert (await api.post("/email/verify", json={"token": box.link(TO)})).status_code == 204

    async def test_a_change_is_confirmed_by_someone_who_knows_the_account(self, both: Both) -> None:
        """⚑ Otherwise Mallory would lend Ada an account, and take it back from the address before."""
        api, box = both
        token = await verified(api, "mallory", OTHER)
        body = {"email": TO, "password": PASSWORD}
        handle = (await api.as_bearer("POST", "/profile/email", token, json=body)).json()["handle"]
        await deliver(api)
        ada = api.elsewhere()
        assert fields(await ada.post("/email/verify", json={"token": box.link(TO)})) == {"password": "required"}
        assert await api.kernel.users.find_by(typed(TO)) is None
        done = await ada.post("/email/verify", json={"handle": handle, "code": box.code(TO)})
        assert done.status_code == 204, "who has the handle has given the password"


class TestRequired:
    """With `WATCHWORD_EMAIL_VERIFICATION=required` no account is there before."""

    @pytest.fixture
    async def required(self, tmp_path: Any, located: dict[str, str]) -> Any:
        async with mailing(tmp_path, email_verification="required", **located) as pair:
            yield pair

    async def test_a_stranger_gets_none_by_the_owners_click(self, required: Both) -> None:
        """⚑ It would begin with the stranger's password."""
        api, box = required
        body = {"username": "mallory", "email": TO, "password": PASSWORD}
        assert (await api.post("/register", json=body)).status_code == 202
        await deliver(api)
        ada, link = api.elsewhere(), {"token": box.link(TO)}
        assert fields(await ada.post("/email/verify", json=link)) == {"password": "required"}
        refused(
            await ada.post("/email/verify", json={**link, "password": "not-of-mallory"}), 401, "invalid_credentials"
        )
        assert await api.kernel.users.find_by(typed(TO)) is None
        assert (await ada.post("/email/verify", json={**link, "password": PASSWORD})).status_code == 204
        assert await confirmed(api)

    async def test_in_the_same_browser_nothing_is_asked(self, required: Both) -> None:
        """The link is opened from the mail program, and its page sends the form."""
        api, box = required
        body = {"username": "ada", "email": TO, "password": PASSWORD}
        assert (await api.post("/register", json=body)).status_code == 202
        await deliver(api)
        assert (await api.post(f"/links/{box.link(TO)}", headers={**SENT_BY_US, **FORM})).status_code == 200
        assert await confirmed(api)
