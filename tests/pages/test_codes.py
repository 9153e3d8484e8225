"""Log in by a code in a mail, by the pages."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.client import COOKIE, DEVICE
from tests.features.api import Api, served
from tests.features.mailing import deliver, mailing
from tests.identity.scenes import HOME
from tests.pages.person import SENT_BY_US, Person
from watchword.identity.granting import unchecked

TO, APP = "ada@example.org", "https://app.example"


async def someone(api: Api) -> None:
    """An account without a password."""
    await api.kernel.users.create(username="ada", email=TO, password=None, client=HOME, check=unchecked)


async def asks(api: Api, opened: str = "/account/login") -> Person:
    """Someone who goes from the log-in to the page that asks for the code."""
    person = Person(api)
    await person.open(opened)
    (way,) = [each for each in person.page.links if "account/code" in each]
    await person.open(str(person.answer.request.url.join(way)))
    await person.send("account/code", email=TO)
    assert person.answer.status_code == 200, person.answer.text
    return person


@pytest.mark.parametrize("prefix", ["", "/auth"])
async def test_from_the_log_in_to_the_account(tmp_path: Path, prefix: str, located: dict[str, str]) -> None:
    """By a link and two forms, under every prefix. The browser is known then, and the code works once."""
    async with mailing(tmp_path, path_prefix=prefix, **located) as (api, box):
        await someone(api)
        person = await asks(api)
        used = dict(person.page.forms[0].fields)
        await deliver(api)
        await person.send("account/code/confirm", code=box.code(TO))
        assert (person.path, TO in person.answer.text) == (f"{prefix}/account", True)
        assert {COOKIE, DEVICE} <= set(api.cookies)
        fields = {**used, "code": box.code(TO)}
        again = await api.post("/account/code/confirm", data=fields, headers=SENT_BY_US)
        assert (again.status_code, "set-cookie" in again.headers) == (401, False)


async def test_a_wrong_code_is_told_at_its_field_and_the_right_one_still_counts(tmp_path: Path) -> None:
    """With the same form, which keeps its handle."""
    async with mailing(tmp_path) as (api, box):
        await someone(api)
        person = await asks(api)
        await deliver(api)
        wrong = await person.send("account/code/confirm", code="x")
        assert (wrong.status_code, "This code is wrong" in wrong.text) == (401, True)
        (field,) = [given for _, given in person.page.tags if given.get("id") == "code"]
        assert (field["aria-invalid"], field.get("value")) == ("true", None)
        await person.send("account/code/confirm", code=box.code(TO))
        assert person.path == "/account"


async def test_the_code_counts_in_the_browser_that_asked(tmp_path: Path) -> None:
    """⚑ Someone who was told it asks for one as well, and enters the other: their own form refuses it."""
    async with mailing(tmp_path) as (api, box):
        await someone(api)
        person = await asks(api)
        await deliver(api)
        code = box.code(TO)
        thief = await asks(api.elsewhere())
        for handle in (thief.page.forms[0].fields["handle"], "", "x", "wwh_" + "A" * 43):
            fields = {"handle": handle, "code": code}
            answer = await thief.api.post("/account/code/confirm", data=fields, headers=SENT_BY_US)
            assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)
        await person.send("account/code/confirm", code=code)
        assert person.path == "/account"


@pytest.mark.parametrize(
    ("wished", "leads_to"),
    [
        ("/orders", "/orders"),
        (f"{APP}/orders?a=1&b=2", f"{APP}/orders?a=1&b=2"),
        ("https://evil.example/", "../../account"),
        ("//evil.example", "../../account"),
        (f"{APP}.evil.example/", "../../account"),
    ],
)
async def test_it_leads_where_a_log_in_leads(tmp_path: Path, wished: str, leads_to: str) -> None:
    """Through every page on the way, a wrong code included. The policy of the last one names the origin alone."""
    async with mailing(tmp_path, allowed_origins=APP) as (api, box):
        await someone(api)
        person = await asks(api, f"/account/login?next={quote(wished, safe='')}")
        await deliver(api)
        await person.send("account/code/confirm", code="x")
        form = f"form-action 'self'{' ' + APP if leads_to.startswith(APP) else ''};"
        assert form in person.answer.headers["content-security-policy"]
        fields = {**person.page.forms[0].fields, "code": box.code(TO)}
        answer = await api.post("/account/code/confirm", data=fields, headers=SENT_BY_US)
        assert (answer.status_code, answer.headers["location"]) == (303, leads_to)


async def test_what_is_asked_in_the_last_form_is_asked_again(tmp_path: Path) -> None:
    """Its field `next` is what a client sent, and is judged like any other."""
    async with mailing(tmp_path) as (api, box):
        await someone(api)
        person = await asks(api)
        await deliver(api)
        fields = {**person.page.forms[0].fields, "code": box.code(TO), "next": "https://evil.example/"}
        answer = await api.post("/account/code/confirm", data=fields, headers=SENT_BY_US)
        assert (answer.status_code, answer.headers["location"]) == (303, "../../account")


async def test_an_address_that_is_none_stays_in_its_field(api: Api) -> None:
    """As on every form."""
    person = Person(api)
    await person.open("/account/code")
    answer = await person.send("account/code", email="a@b@c")
    assert answer.status_code == 422
    assert person.page.forms[0].fields["email"] == "a@b@c"


async def test_the_limits_are_those_of_the_json_routes(tmp_path: Path) -> None:
    """What was used up there is used up here: mails of a network, and codes of a handle."""
    async with mailing(tmp_path, mail_address_limit="2/1h", code_limit="2/1d") as (api, _):
        await someone(api)
        assert (await api.post("/login/code", json={"email": TO})).status_code == 202
        person = await asks(api)
        handle = person.page.forms[0].fields["handle"]
        assert (await api.post("/login/code", json={"email": TO})).status_code == 429
        limited = await api.post("/account/code", data={"email": TO}, headers=SENT_BY_US)
        assert (limited.status_code, "Minutes to wait" in limited.text) == (429, True)
        assert int(limited.headers["retry-after"]) > 0
        body = {"handle": handle, "code": "x"}
        assert (await api.post("/login/code/confirm", json=body)).status_code == 401
        for status in (401, 429):
            answer = await api.post("/account/code/confirm", data=body, headers=SENT_BY_US)
            assert answer.status_code == status


async def test_in_german(tmp_path: Path) -> None:
    """Each page, and what was wrong."""
    async with mailing(tmp_path) as (api, _):
        api.headers["Accept-Language"] = "de"
        person = await asks(api)
        assert "Geben Sie innerhalb von zehn Minuten hier den Code ein" in person.answer.text
        wrong = await person.send("account/code/confirm", code="x")
        assert "Dieser Code ist falsch" in wrong.text


async def test_it_is_off_until_it_is_switched_on(tmp_path: Path) -> None:
    """No link leads there, and what is opened or sent all the same is refused with a page."""
    async with served(tmp_path, email_login="off") as api:
        assert "account/code" not in (await api.get("/account/login")).text
        answers = [await api.get(path) for path in ("/account/code", "/account/code/confirm")]
        for path, fields in (
            ("/account/code", {"email": TO}),
            ("/account/code/confirm", {"handle": "wwh_" + "A" * 43, "code": "1"}),
        ):
            answers.append(await api.post(path, data=fields, headers=SENT_BY_US))
        for answer in answers:
            assert (answer.status_code, answer.headers["content-type"]) == (403, "text/html; charset=utf-8")
            assert "no codes to log in" in answer.text
