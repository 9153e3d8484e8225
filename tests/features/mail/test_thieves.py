"""An account in a thief's hands: its owner keeps the way back, and learns of what happens."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from tests.e2e.client import PASSWORD, bearer, fields, refused
from tests.features.api import Api, served
from tests.features.mail.test_mail import DAY, OTHER, TO, verified
from tests.features.mailing import deliver, mailing
from tests.mail.mailbox import Mailbox
from watchword.identity.administration import Administration, unchecked
from watchword.identity.audit import LOCAL
from watchword.identity.identifiers import typed

Both = tuple[Api, Mailbox]


def operator(api: Api) -> Administration:
    """What `watchword users` does."""
    return Administration(api.kernel, client=LOCAL, check=unchecked)


async def change(api: Api, box: Mailbox, token: str, email: str) -> str:
    """Give the account this address, in the browser of its session; the next access token."""
    body = {"email": email, "password": PASSWORD}
    assert (await api.as_bearer("POST", "/profile/email", token, json=body)).status_code == 202
    await deliver(api)
    assert (await api.post("/email/verify", json={"token": box.link(email)})).status_code == 204
    await deliver(api)
    return str((await api.post("/refresh")).json()["access_token"])


async def close(api: Api, token: str) -> httpx2.Response:
    """Close the account; the answer."""
    return await api.request("DELETE", "/profile", headers=bearer(token), json={"password": PASSWORD})


class TestClosing:
    """It must not be a thief's way out."""

    async def test_the_owner_is_told(self, both: Both) -> None:
        """⚑ The mail outlives the user, in the language of the one who closed."""
        api, box = both
        token = await verified(api)
        headers = {**bearer(token), "Accept-Language": "de"}
        done = await api.request("DELETE", "/profile", headers=headers, json={"password": PASSWORD})
        assert done.status_code == 204, done.text
        await deliver(api)
        assert box.subjects(TO) == ["Ihr Konto wurde geschlossen"]

    async def test_an_unconfirmed_address_is_told_nothing(self, both: Both) -> None:
        """It may be a stranger's."""
        api, box = both
        await api.register("ada", email=TO)
        await deliver(api)
        assert (await close(api, await api.log_in("ada"))).status_code == 204
        await deliver(api)
        assert box.subjects(TO) == ["Confirm your e-mail address"]

    async def test_an_account_that_can_be_taken_back_is_not_closed(self, both: Both) -> None:
        """⚑ A thief who changed the address would do away with the owner's link, and the name would be free."""
        api, box = both
        thief = await change(api, box, await verified(api), OTHER)
        undo = box.link(TO)
        refused(await close(api, thief), 409, "closing_too_early")
        refused(await api.post("/register", json={"username": "ada", "password": PASSWORD}), 409, "username_taken")
        assert (await api.post("/email/undo", json={"token": undo})).status_code == 204

    async def test_once_the_time_is_over_it_is_closed(self, both: Both) -> None:
        """On the second that the answer named."""
        api, box = both
        token = await change(api, box, await verified(api), OTHER)
        api.clock.advance(7 * DAY - 1)
        token = await api.log_in("ada")
        assert "2027-01-22 08:00 UTC" in refused(await close(api, token), 409, "closing_too_early")["detail"]
        api.clock.advance(1)
        assert (await close(api, token)).status_code == 204
        await deliver(api)
        assert box.subjects(OTHER)[-1] == "Your account was closed"

    async def test_an_operator_closes_it_at_once(self, both: Both) -> None:
        """Someone else has looked at it."""
        api, box = both
        await change(api, box, await verified(api), OTHER)
        user = await api.kernel.users.find_by(typed("ada"))
        assert user is not None
        await operator(api).delete(user)
        refused(await api.post("/email/undo", json={"token": box.link(TO)}), 400, "one_time_invalid")


class TestTheWayBack:
    """The owner's link is there until it is used, expires, or an operator has given the account back."""

    async def test_disabling_leaves_it(self, both: Both) -> None:
        """⚑ It is refused meanwhile, and works once the account is enabled."""
        api, box = both
        await change(api, box, await verified(api), OTHER)
        undo = {"token": box.link(TO)}
        user = await api.kernel.users.find_by(typed("ada"))
        assert user is not None
        await operator(api).disable(user.id)
        refused(await api.post("/email/undo", json=undo), 400, "one_time_invalid")
        await operator(api).enable(user.id)
        assert (await api.post("/email/undo", json=undo)).status_code == 204
        found = await api.kernel.users.find(user.id)
        assert found is not None
        assert found.email == TO

    async def test_a_thiefs_link_does_not_end_the_owners(self, both: Both) -> None:
        """⚑ After two changes the first of the thief's addresses has a link too; the older one stays."""
        api, box = both
        thief = await change(api, box, await verified(api), OTHER)
        owners = box.link(TO)
        await change(api, box, thief, "third@example.net")
        assert (await api.post("/email/undo", json={"token": box.link(OTHER)})).status_code == 204
        assert (await api.post("/email/undo", json={"token": owners})).status_code == 204
        await deliver(api)
        assert box.subjects("third@example.net")[-1] == "An account does not have your address any more"
        assert box.subjects(OTHER)[-1] == "An account does not have your address any more"

    async def test_the_owners_link_ends_the_thiefs(self, both: Both) -> None:
        """The one who had the account first has the last word."""
        api, box = both
        thief = await change(api, box, await verified(api), OTHER)
        await change(api, box, thief, "third@example.net")
        assert (await api.post("/email/undo", json={"token": box.link(TO)})).status_code == 204
        refused(await api.post("/email/undo", json={"token": box.link(OTHER)}), 400, "one_time_invalid")


class TestAnAccountThatIsLent:
    """Someone gives their account another's address, and may take it back: no one can tell that from a theft."""

    async def test_mails_to_the_new_address_say_so(self, both: Both) -> None:
        """⚑ Which address can take it back, so that its owner knows it and no one else, and until when."""
        api, box = both
        await change(api, box, await verified(api), OTHER)
        assert "the account has the address a…@e….org now" in box.texts(OTHER)[0]
        said = "had the address a…@e….org before. Until 2027-01-22 08:00 UTC"
        await api.post("/password/forgot", json={"email": OTHER})
        await api.post("/login/code", json={"email": OTHER})
        await deliver(api)
        assert all(said in " ".join(text.split()) for text in box.texts(OTHER)[-2:])
        api.clock.advance(7 * DAY)
        await api.post("/password/forgot", json={"email": OTHER})
        await deliver(api)
        assert "before" not in box.texts(OTHER)[-1]

    @pytest.mark.parametrize("verification", ["off", "optional", "required"])
    async def test_an_address_is_confirmed_before_it_is_the_accounts(
        self, tmp_path: Path, verification: str, located: dict[str, str]
    ) -> None:
        """⚑ In every mode: what is not confirmed yet would be an account that its owner cannot keep."""
        async with mailing(tmp_path, email_verification=verification, **located) as (api, _):
            token = await verified(api)
            answer = await api.as_bearer("PATCH", "/profile", token, json={"email": OTHER, "password": PASSWORD})
            assert fields(answer) == {"email": "needs_confirmation"}
            user = await api.kernel.users.find_by(typed("ada"))
            assert user is not None
            assert user.email == TO

    async def test_without_mail_it_changes_at_once(self, tmp_path: Path) -> None:
        """There is no mail to confirm it, none to set a password, and no link to take anything back."""
        async with served(
            tmp_path, public_url="https://auth.example.com", trusted_proxies="1", docs="on", email_login="off"
        ) as api:
            await api.register("ada", email=TO)
            token = await api.log_in("ada")
            answer = await api.as_bearer("PATCH", "/profile", token, json={"email": OTHER, "password": PASSWORD})
            assert (answer.status_code, answer.json()["email"]) == (200, OTHER)
            refused(await api.post("/password/forgot", json={"email": OTHER}), 403, "mail_off")
