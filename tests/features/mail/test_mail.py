"""Addresses: confirmed, changed, and taken back; registering that tells no one who has an account; notices."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.e2e.client import PASSWORD, bearer, fields, refused
from tests.features.api import Api
from tests.features.mailing import deliver, mailing
from tests.identity.scenes import HOME
from tests.mail.mailbox import Mailbox
from watchword.identity.administration import Administration, unchecked
from watchword.identity.audit import LOCAL
from watchword.identity.identifiers import typed

TO, OTHER = "ada@example.org", "new@example.net"
DAY = 86_400


async def verified(api: Api, name: str = "ada", email: str = TO) -> str:
    """A user whose address is confirmed; an access token."""
    await api.kernel.users.create(username=name, email=email, password=PASSWORD, client=HOME, check=unchecked)
    await api.kernel.database.run("UPDATE ww_users SET email_verified_at = 1 WHERE username = :name", name=name)
    return await api.log_in(name)


async def profile(api: Api, token: str) -> dict[str, Any]:
    """The caller's account."""
    return dict((await api.get("/profile", headers=bearer(token))).json())


async def register(api: Api, **body: str) -> httpx2.Response:
    """Ask for an account."""
    return await api.post("/register", json={"password": PASSWORD, **body})


class TestRequired:
    """With `WATCHWORD_EMAIL_VERIFICATION=required`."""

    @pytest.fixture
    async def both(self, tmp_path: Path) -> Any:
        async with mailing(tmp_path, email_verification="required") as pair:
            yield pair

    async def test_the_account_begins_with_the_confirmation(self, both: tuple[Api, Mailbox]) -> None:
        """Until then there is none; afterwards it is confirmed; no one is logged in by it."""
        api, box = both
        answer = await register(api, username="ada", email=TO)
        assert (answer.status_code, set(answer.json())) == (202, {"handle", "expires_in"})
        refused(await api.post("/login", json={"username": "ada", "password": PASSWORD}), 401, "invalid_credentials")
        await deliver(api)
        assert box.subjects(TO) == ["Confirm your registration"]
        body = {"handle": answer.json()["handle"], "code": box.code(TO)}
        done = await api.post("/email/verify", json=body)
        assert (done.status_code, "set-cookie" in done.headers) == (204, False)
        user = await profile(api, await api.log_in("ada"))
        assert (user["email"], user["email_verified"], user["roles"]) == (TO, True, [])
        refused(await api.post("/email/verify", json={"token": box.link(TO)}), 400, "one_time_invalid")

    async def test_D8_registering_tells_nothing(self, both: tuple[Api, Mailbox]) -> None:
        """The same bytes but for the handle, and the same rows, whether or not the address has an account."""
        api, box = both
        await verified(api)
        taken = await register(api, username="eve", email=" ADA@example.org")
        free = await register(api, username="eve", email="free@example.org")
        for answer in (taken, free):
            assert answer.status_code == 202
        assert len(taken.content) == len(free.content)
        assert set(taken.headers) == set(free.headers)
        rows = await api.kernel.database.scan("SELECT purpose, user_id, tries FROM ww_one_time")
        assert [tuple(row) for row in rows] == [("register", None, 5)] * 2
        await deliver(api)
        assert box.subjects(TO) == ["You have an account already"]
        assert "/links/" not in box.texts(TO)[0]
        assert box.subjects("free@example.org") == ["Confirm your registration"]
        # Neither took the name, which would tell.
        assert (await register(api, username="eve", email="third@example.org")).status_code == 202

    async def test_an_address_is_needed_and_a_taken_name_is_told(self, both: tuple[Api, Mailbox]) -> None:
        """The name is told before anything is known about the address."""
        api, _ = both
        await verified(api)
        answer = await register(api, username="bob")
        assert (answer.status_code, set(fields(answer))) == (422, {"email"})
        for email in (TO, "free@example.org"):
            refused(await register(api, username="ada", email=email), 409, "username_taken")

    async def test_the_first_to_confirm_has_the_name(self, both: tuple[Api, Mailbox]) -> None:
        """The second is told, and the link is not used up: nothing was made."""
        api, box = both
        for email in (TO, OTHER):
            await register(api, username="ada", email=email)
        await deliver(api)
        assert (await api.post("/email/verify", json={"token": box.link(TO)})).status_code == 204
        for _ in range(2):
            refused(await api.post("/email/verify", json={"token": box.link(OTHER)}), 409, "username_taken")

    async def test_no_link_outlives_open_registration(self, tmp_path: Path) -> None:
        """⚑ Once it is closed no link makes an account, and none is used up: when it opens again, they work."""
        given = {"email_verification": "required"}
        async with mailing(tmp_path / "x", **given) as (api, box):
            await register(api, username="ada", email=TO)
            await deliver(api)
            body = {"token": box.link(TO), "password": PASSWORD}
        async with mailing(tmp_path / "x", **given, registration="closed") as (api, _):
            refused(await api.post("/email/verify", json=body), 403, "registration_closed")
            assert (await api.post(f"/links/{body['token']}", data={"new_password": ""})).status_code == 403
            assert await api.kernel.users.find_by(typed(TO)) is None
        async with mailing(tmp_path / "x", **given) as (api, _):
            assert (await api.post("/email/verify", json=body)).status_code == 204

    async def test_no_password_is_kept_in_the_clear(self, both: tuple[Api, Mailbox]) -> None:
        """A registration that waits holds a hash."""
        api, _ = both
        await register(api, username="ada", email=TO)
        (row,) = await api.kernel.database.scan("SELECT detail FROM ww_one_time")
        assert "$argon2id$" in row["detail"]
        assert PASSWORD not in row["detail"]

    async def test_a_registration_that_was_confirmed_keeps_no_copy(self, both: tuple[Api, Mailbox]) -> None:
        """The hash is the user's from then on, and nowhere else."""
        api, box = both
        await register(api, username="ada", email=TO)
        await deliver(api)
        assert (await api.post("/email/verify", json={"token": box.link(TO)})).status_code == 204
        (row,) = await api.kernel.database.scan("SELECT detail, used_at FROM ww_one_time")
        assert (row["detail"], row["used_at"]) == ("{}", api.clock.now())

    async def test_closing_the_account_ends_its_links(self, both: tuple[Api, Mailbox]) -> None:
        """And leaves none of them behind."""
        api, box = both
        token = await verified(api)
        await api.post("/password/forgot", json={"email": TO})
        await deliver(api)
        assert (await api.as_bearer("DELETE", "/profile", token, json={"password": PASSWORD})).status_code == 204
        assert await api.kernel.database.scan("SELECT id FROM ww_one_time") == []
        body = {"token": box.link(TO), "new_password": "quiet-harbor-lantern"}
        refused(await api.post("/password/reset", json=body), 400, "one_time_invalid")

    async def test_an_unconfirmed_address_logs_no_one_in(self, both: tuple[Api, Mailbox]) -> None:
        """After the right password only, by each door; the mail that confirms it is sent again on request."""
        api, box = both
        await api.kernel.users.create(username="ada", email=TO, password=PASSWORD, client=HOME, check=unchecked)
        wrong = await api.post("/login", json={"username": "ada", "password": "wrong-wrong-wrong"})
        refused(wrong, 401, "invalid_credentials")
        refused(await api.post("/login", json={"username": "ada", "password": PASSWORD}), 403, "email_unverified")
        form = {"grant_type": "password", "username": "ada", "password": PASSWORD}
        by_form = await api.post("/token", data=form)
        assert (by_form.status_code, by_form.json()["error"]) == (403, "access_denied")
        assert (await api.post("/email/verification", json={"email": TO})).status_code == 202
        await deliver(api)
        body = {"token": box.link(TO), "password": PASSWORD}
        assert (await api.post("/email/verify", json=body)).status_code == 204
        await api.log_in("ada")

    async def test_who_has_no_address_logs_in(self, both: tuple[Api, Mailbox]) -> None:
        """An operator made that account: there is nothing to confirm."""
        api, _ = both
        await api.kernel.users.create(username="robot", email=None, password=PASSWORD, client=HOME, check=unchecked)
        await api.log_in("robot")

    async def test_right_passwords_of_unconfirmed_accounts_are_limited(self, tmp_path: Path) -> None:
        """Each costs a hash."""
        async with mailing(tmp_path / "x", email_verification="required", login_limit="3/15m") as (api, _):
            await api.kernel.users.create(username="ada", email=TO, password=PASSWORD, client=HOME, check=unchecked)
            body = {"username": "ada", "password": PASSWORD}
            statuses = [(await api.post("/login", json=body)).status_code for _ in range(5)]
            assert statuses == [403, 403, 403, 429, 429]


async def test_optional_sends_a_link_and_asks_for_nothing(tmp_path: Path) -> None:
    """The account is there at once; the mail is stored with it, or neither is."""
    async with mailing(tmp_path, email_verification="optional") as (api, box):
        user = await api.register("ada", email=TO)
        assert user["email_verified"] is False
        token = await api.log_in("ada")
        refused(await register(api, username="bob", email=TO), 409, "email_taken")
        await api.register("bob")
        await deliver(api)
        assert box.subjects(TO) == ["Confirm your e-mail address"]
        assert len(box.mails) == 1
        assert (await api.post("/email/verify", json={"token": box.link(TO)})).status_code == 204
        assert (await profile(api, token))["email_verified"] is True


async def test_asking_again_sends_to_unconfirmed_addresses_only(tmp_path: Path) -> None:
    """And answers the same for every address."""
    async with mailing(tmp_path) as (api, box):
        await verified(api)
        await api.register("bob", email="bob@example.org")
        for email in (TO, "bob@example.org", "nobody@example.org"):
            assert (await api.post("/email/verification", json={"email": email})).status_code == 202
        await deliver(api)
        assert [str(mail["To"]) for mail in box.mails] == ["bob@example.org"]


async def test_H5_nothing_else_confirms_an_address(tmp_path: Path) -> None:
    """No field of any body does, in any form."""
    async with mailing(tmp_path) as (api, _):
        for field in ("email_verified", "email_verified_at", "verified", "roles", "is_admin"):
            body = {"username": "ada", "email": TO, "password": PASSWORD, field: True}
            assert (await api.post("/register", json=body)).status_code == 422
            assert (await api.post(f"/register?{field}=true", data=body)).status_code == 415
        await api.register("ada", email=TO)
        token = await api.log_in("ada")
        for field in ("email_verified", "email_verified_at", "verified"):
            answer = await api.as_bearer("PATCH", f"/profile?{field}=1", token, json={field: True})
            assert answer.status_code == 422
        assert (await profile(api, token))["email_verified"] is False


class TestChange:
    """A new address becomes the account's when it is confirmed."""

    async def test_it_is_confirmed_first(self, tmp_path: Path) -> None:
        """The former one is told, with the way back; tokens from before are refused, sessions stay."""
        async with mailing(tmp_path, email_verification="optional") as (api, box):
            token = await verified(api)
            body = {"email": OTHER, "password": PASSWORD}
            plain = await api.as_bearer("PATCH", "/profile", token, json=body)
            assert fields(plain) == {"email": "needs_confirmation"}
            answer = await api.as_bearer("POST", "/profile/email", token, json=body)
            assert answer.status_code == 202, answer.text
            assert (await profile(api, token))["email"] == TO
            await deliver(api)
            assert (box.subjects(OTHER), box.subjects(TO)) == (["Confirm your new e-mail address"], [])
            assert (await api.post("/email/verify", json={"token": box.link(OTHER)})).status_code == 204
            refused(await api.get("/profile", headers=bearer(token)), 401, "token_revoked")
            fresh = (await api.post("/refresh")).json()["access_token"]
            user = await profile(api, fresh)
            assert (user["email"], user["email_verified"]) == (OTHER, True)
            await deliver(api)
            assert box.subjects(TO) == ["Your e-mail address was changed"]

    async def test_it_needs_the_password(self, tmp_path: Path) -> None:
        """A stolen access token changes no address."""
        async with mailing(tmp_path) as (api, box):
            token = await verified(api)
            body = {"email": OTHER, "password": "wrong-wrong-wrong"}
            refused(await api.as_bearer("POST", "/profile/email", token, json=body), 401, "invalid_credentials")
            await deliver(api)
            assert box.mails == []

    async def test_it_is_no_one_elses_imported_username(self, tmp_path: Path) -> None:
        """⚑ Someone who reads the mail of an address could otherwise take the name that another user logs in with."""
        async with mailing(tmp_path, email_verification="optional") as (api, box):
            await api.register("dan")
            token = await verified(api)
            body = {"email": OTHER, "password": PASSWORD}
            await api.as_bearer("POST", "/profile/email", token, json=body)
            await deliver(api)
            await api.kernel.database.run(
                "UPDATE ww_users SET username = :name, username_key = :name, imported_at = 1 WHERE username = 'dan'",
                name=OTHER,
            )
            answer = await api.post("/email/verify", json={"token": box.link(OTHER)})
            refused(answer, 409, "email_taken")
            assert (await profile(api, token))["email"] == TO

    async def test_whether_another_has_the_address_is_not_told(self, tmp_path: Path) -> None:
        """Its owner gets a mail that changes nothing."""
        async with mailing(tmp_path) as (api, box):
            await verified(api, "bob", OTHER)
            token = await verified(api)
            body = {"email": OTHER, "password": PASSWORD}
            assert (await api.as_bearer("POST", "/profile/email", token, json=body)).status_code == 202
            await deliver(api)
            assert box.subjects(OTHER) == ["You have an account already"]

    @pytest.mark.parametrize("verification", ["off", "optional"])
    async def test_it_is_taken_back(self, tmp_path: Path, verification: str) -> None:
        """The former address comes back, every session ends, the password is gone; a second change does not stop it."""
        async with mailing(tmp_path, email_verification=verification) as (api, box):
            thief = await verified(api)
            for email in (OTHER, "third@example.net"):
                body = {"email": email, "password": PASSWORD}
                await api.as_bearer("POST", "/profile/email", thief, json=body)
                await deliver(api)
                await api.post("/email/verify", json={"token": box.link(email)})
                thief = (await api.post("/refresh")).json()["access_token"]
            await deliver(api)
            undo = box.link(TO)
            api.clock.advance(7 * DAY - 1)
            assert (await api.post("/email/undo", json={"token": undo})).status_code == 204
            refused(await api.post("/refresh"), 401, "session_ended")
            body = {"username": "ada", "password": PASSWORD}
            refused(await api.post("/login", json=body), 401, "invalid_credentials")
            refused(await api.post("/email/undo", json={"token": undo}), 400, "one_time_invalid")
            await api.post("/password/forgot", json={"email": TO})
            await deliver(api)
            body = {"token": box.link(TO), "new_password": "quiet-harbor-lantern"}
            assert (await api.post("/password/reset", json=body)).status_code == 204
            user = await profile(api, await api.log_in("ada", "quiet-harbor-lantern"))
            assert (user["email"], user["email_verified"]) == (TO, True)

    @pytest.mark.parametrize("named", ["squatter", None])
    async def test_an_account_that_never_confirmed_the_address_gives_it_back(
        self, tmp_path: Path, named: str | None
    ) -> None:
        """⚑ The thief registers the owner's address once more, so that it is taken."""
        async with mailing(tmp_path, email_verification="optional") as (api, box):
            thief = await verified(api)
            body = {"email": OTHER, "password": PASSWORD}
            await api.as_bearer("POST", "/profile/email", thief, json=body)
            await deliver(api)
            await api.post("/email/verify", json={"token": box.link(OTHER)})
            await deliver(api)
            undo = box.link(TO)
            made = await api.kernel.users.create(
                username=named, email=TO, password=PASSWORD, client=HOME, check=unchecked
            )
            assert (await api.post("/email/undo", json={"token": undo})).status_code == 204
            found = await api.kernel.users.find_by(typed(TO))
            assert found is not None
            assert found.username == "ada"
            squatter = await api.kernel.users.find(made.id)
            assert squatter is not None
            assert (squatter.email, squatter.disabled_at is not None) == (None, named is None)

    @pytest.mark.parametrize("help_by", ["password", "names", "disabling"])
    async def test_nothing_undoes_what_an_operator_took_back(self, tmp_path: Path, help_by: str) -> None:
        """⚑ The thief's address was confirmed for a while: after the operator's help it has no link that works."""
        async with mailing(tmp_path) as (api, box):
            thief = await verified(api)
            for email in (OTHER, "third@example.net"):
                body = {"email": email, "password": PASSWORD}
                await api.as_bearer("POST", "/profile/email", thief, json=body)
                await deliver(api)
                assert (await api.post("/email/verify", json={"token": box.link(email)})).status_code == 204
                thief = (await api.post("/refresh")).json()["access_token"]
            await deliver(api)
            undo = box.link(OTHER)
            operator = Administration(api.kernel, client=LOCAL, check=unchecked)
            user = await api.kernel.users.find_by(typed("ada"))
            assert user is not None
            if help_by == "password":
                await operator.set_password(user, "quiet-harbor-lantern")
            elif help_by == "names":
                await operator.rename(user, username=None, email=TO)
            else:
                await operator.disable(user.id)
                await operator.enable(user.id)
            await deliver(api)
            refused(await api.post("/email/undo", json={"token": undo}), 400, "one_time_invalid")
            told = [each for each in box.subjects("third@example.net") if each.startswith("Your e-mail")]
            assert told == (["Your e-mail address was changed"] if help_by == "names" else [])

    async def test_an_unconfirmed_former_address_gets_no_way_back(self, tmp_path: Path) -> None:
        """It may be a stranger's, who would be given the account."""
        async with mailing(tmp_path) as (api, box):
            await api.register("ada", email="typo@example.org")
            token = await api.log_in("ada")
            body = {"email": TO, "password": PASSWORD}
            assert (await api.as_bearer("PATCH", "/profile", token, json=body)).status_code == 200
            await deliver(api)
            assert box.mails == []


class TestNotices:
    """What is told of on its own account, to confirmed addresses."""

    async def test_a_new_device(self, tmp_path: Path) -> None:
        """Not the first, not the same again; in words of ours, in the client's language, five a day at most."""
        firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
        async with mailing(tmp_path) as (api, box):
            await verified(api)
            for _ in range(2):
                await api.elsewhere("203.0.113.9", firefox).log_in("ada")
            await deliver(api)
            assert box.subjects(TO) == ["Log-in from a new device"]
            assert "Firefox on Linux, 203.0.113.9" in box.texts(TO)[0]
            evil = api.elsewhere("198.51.100.7", "https://evil.example/ <a href=x>")
            evil.headers["Accept-Language"] = "de-CH"
            await evil.log_in("ada")
            await deliver(api)
            assert box.subjects(TO)[1] == "Anmeldung von einem neuen Gerät"
            assert "evil" not in box.mails[1].as_string()
            for number in range(10):
                await api.elsewhere(f"198.51.{number}.7").log_in("ada")
            await deliver(api)
            assert len(box.mails) == 4, "with the first device of the day five are new"

    async def test_a_new_api_key(self, tmp_path: Path) -> None:
        """It outlives the session in which it was made, or put in another's place. Its name is whoever made it's."""
        async with mailing(tmp_path) as (api, box):
            token, thief = await verified(api), api.elsewhere()
            made = await thief.as_bearer("POST", "/api-keys", token, json={"name": "see https://evil.example"})
            path = f"/api-keys/{made.json()['about']['id']}/rotate"
            assert (await thief.as_bearer("POST", path, token, json={})).status_code == 201
            await deliver(api)
            assert box.subjects(TO) == ["A new API key", "A new API key"]
            assert "203.0.113.9" in box.texts(TO)[0]
            assert "evil" not in box.mails[0].as_string()
            await api.kernel.database.run("UPDATE ww_users SET email_verified_at = NULL")
            assert (await api.as_bearer("POST", "/api-keys", token, json={"name": "x"})).status_code == 201
            await deliver(api)
            assert len(box.mails) == 2, "nor to an address that is not confirmed"

    async def test_the_first_device_of_someone_who_was_here_before(self, tmp_path: Path) -> None:
        """⚑ After a move, and once devices are forgotten: it may be a thief's. Not where it is the one of the start."""
        async with mailing(tmp_path) as (api, box):
            await verified(api)
            await api.log_in("ada")
            await deliver(api)
            assert box.mails == []
            await api.kernel.database.run("DELETE FROM ww_devices")
            await api.log_in("ada")
            await deliver(api)
            assert box.subjects(TO) == ["Log-in from a new device"]
            await api.kernel.database.run("DELETE FROM ww_devices")
            await api.kernel.database.run("UPDATE ww_users SET last_login_at = NULL, imported_at = 1")
            for _ in range(2):
                await api.log_in("ada")
            await deliver(api)
            assert box.subjects(TO) == ["Log-in from a new device"] * 2

    async def test_a_changed_password(self, tmp_path: Path) -> None:
        """By its owner, too."""
        async with mailing(tmp_path) as (api, box):
            token = await verified(api)
            body = {"current_password": PASSWORD, "new_password": "quiet-harbor-lantern"}
            german = {**bearer(token), "Accept-Language": "de"}
            assert (await api.post("/profile/password", json=body, headers=german)).status_code == 200
            await deliver(api)
            assert box.subjects(TO) == ["Ihr Passwort wurde geändert"]

    async def test_a_refresh_token_that_was_used_twice(self, tmp_path: Path) -> None:
        """Once: the session has ended."""
        async with mailing(tmp_path) as (api, box):
            await verified(api)
            stolen = api.cookies["watchword_refresh"]
            for _ in range(2):
                await api.post("/refresh")
            api.clock.advance(60)
            for _ in range(3):
                answer = await api.refresh_with(stolen)
                assert answer.status_code == 401
            await deliver(api)
            assert box.subjects(TO) == ["A session was ended for your safety"]

    async def test_an_unconfirmed_address_is_told_nothing(self, tmp_path: Path) -> None:
        """Someone could register with a stranger's, and have it flooded."""
        async with mailing(tmp_path) as (api, box):
            await api.register("ada", email=TO)
            for number in range(3):
                await api.elsewhere(f"198.51.{number}.7").log_in("ada")
            token = await api.log_in("ada")
            body = {"current_password": PASSWORD, "new_password": "quiet-harbor-lantern"}
            assert (await api.as_bearer("POST", "/profile/password", token, json=body)).status_code == 200
            await deliver(api)
            assert box.mails == []

    async def test_H13_no_mail_shows_what_someone_else_chose(self, tmp_path: Path) -> None:
        """A username with a dot would become a link in many mail programs."""
        async with mailing(tmp_path, email_verification="optional") as (api, box):
            await api.register("win-at-evil.example", email=TO)
            await api.post("/password/forgot", json={"email": TO})
            await api.post("/login/code", json={"email": TO})
            await deliver(api)
            assert len(box.mails) == 3
            assert all("evil" not in mail.as_string() for mail in box.mails)
