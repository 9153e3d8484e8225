"""Forgotten passwords: by link, by code, on the page; told to no one who asks, and logging no one in."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.client import DEVICE, PASSWORD, bearer, fields, refused
from tests.features.api import Api, served
from tests.features.mailing import deliver, mailing

NEW = "quiet-harbor-lantern"
TO = "ada@example.org"


async def forgot(api: Api, email: str = TO) -> str:
    """Ask for a mail; the handle."""
    answer = await api.post("/password/forgot", json={"email": email})
    assert answer.status_code == 202, answer.text
    assert answer.json()["expires_in"] == 600
    return str(answer.json()["handle"])


async def test_a_new_password_by_link(tmp_path: Path) -> None:
    """Every session ends, no one is logged in, the address is confirmed and its owner told; the link works once."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        token = await api.log_in("ada")
        api.clock.advance(1)
        await forgot(api, " ADA@example.org ")
        await deliver(api)
        assert box.subjects(TO) == ["Set a new password"]
        answer = await api.post("/password/reset", json={"token": box.link(TO), "new_password": NEW})
        assert (answer.status_code, answer.content) == (204, b"")
        assert [line.partition("=")[0] for line in answer.headers.get_list("set-cookie")] == [DEVICE]
        refused(await api.get("/profile", headers=bearer(token)), 401, "token_revoked")
        refused(await api.post("/refresh"), 401, "session_ended")
        refused(await api.post("/login", json={"username": "ada", "password": PASSWORD}), 401, "invalid_credentials")
        again = await api.post("/password/reset", json={"token": box.link(TO), "new_password": PASSWORD})
        refused(again, 400, "one_time_invalid")
        user = (await api.get("/profile", headers=bearer(await api.log_in("ada", NEW)))).json()
        assert user["email_verified"] is True
        await deliver(api)
        assert box.subjects(TO)[1:] == ["Your password was changed"]


@pytest.mark.parametrize("path", ["/password/reset", "/email/verify"])
async def test_D9_a_network_has_so_many_wrong_codes_of_all_mails_together(tmp_path: Path, path: str) -> None:
    """⚑ Of ever new mails too. A right code counts for nothing, and another network goes on."""
    async with mailing(tmp_path, mail_code_limit="3/15m") as (api, box):
        await api.register("ada", email=TO)
        handle = await forgot(api)
        await deliver(api)
        for number in range(3):
            body = {"handle": await forgot(api, f"u{number}@example.org"), "code": "123456"}
            more = {"new_password": NEW} if path == "/password/reset" else {}
            answer = await api.post(path, json={**body, **more})
            assert answer.status_code in (400, 401), answer.text
        right = {"handle": handle, "code": box.code(TO), "new_password": NEW}
        refused(await api.post("/password/reset", json=right), 429, "too_many_attempts")
        elsewhere = api.elsewhere("198.51.100.7")
        assert (await elsewhere.post("/password/reset", json=right)).status_code == 204
        wrong = {"handle": handle, "code": "123456", "new_password": NEW}
        got = [(await elsewhere.post("/password/reset", json=wrong)).status_code for _ in range(4)]
        assert got == [400, 400, 400, 429]


async def test_a_new_password_by_code(tmp_path: Path) -> None:
    """With the handle that was answered, and not with another one's."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        handle, other = await forgot(api), await forgot(api, "bob@example.org")
        await deliver(api)
        code = box.code(TO)
        body = {"code": code, "new_password": NEW}
        refused(await api.post("/password/reset", json={**body, "handle": other}), 400, "one_time_invalid")
        assert (await api.post("/password/reset", json={**body, "handle": handle})).status_code == 204
        refused(await api.post("/password/reset", json={**body, "handle": handle}), 400, "one_time_invalid")
        await api.log_in("ada", NEW)


async def test_D8_asking_tells_nothing(tmp_path: Path) -> None:
    """The same bytes but for the handle for every address; only the owner gets a mail."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        await api.register("closed", email="closed@example.org")
        await api.kernel.database.run("UPDATE ww_users SET disabled_at = 1 WHERE username = 'closed'")
        answers = [
            await api.post("/password/forgot", json={"email": email})
            for email in (TO, "nobody@example.org", "closed@example.org", TO.upper())
        ]
        told = {
            (
                answer.status_code,
                answer.text.replace(answer.json()["handle"], "…"),
                tuple(sorted(set(answer.headers) - {"x-request-id"})),
                answer.headers["content-length"],
            )
            for answer in answers
        }
        assert len(told) == 1
        await deliver(api)
        assert {str(mail["To"]) for mail in box.mails} == {TO}
        handle = answers[1].json()["handle"]
        body = {"handle": handle, "code": "000000", "new_password": NEW}
        unknown = await api.post("/password/reset", json=body)
        known = await api.post("/password/reset", json={**body, "handle": answers[0].json()["handle"]})
        assert unknown.json()["detail"] == known.json()["detail"]


async def test_an_unacceptable_password_uses_nothing_up(tmp_path: Path) -> None:
    """Neither the link nor a try of the code."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email=TO)
        handle = await forgot(api)
        await deliver(api)
        for poor in ("short", "password1234", "x" * 1025):
            for proof in ({"token": box.link(TO)}, {"handle": handle, "code": box.code(TO)}):
                answer = await api.post("/password/reset", json={**proof, "new_password": poor})
                assert (answer.status_code, set(fields(answer))) == (422, {"new_password"})
        (row,) = await api.kernel.database.scan("SELECT tries FROM ww_one_time")
        assert row["tries"] == 5
        named = await api.post("/password/reset", json={"token": box.link(TO), "new_password": f"my-{TO}-word"})
        assert named.status_code == 422, "it contains the address, which only the account knows"
        body = {"handle": handle, "code": box.code(TO), "new_password": NEW}
        assert (await api.post("/password/reset", json=body)).status_code == 204


@pytest.mark.parametrize(
    ("body", "faults"),
    [
        ({}, {"new_password"}),
        ({"new_password": NEW}, {"token"}),
        ({"new_password": NEW, "handle": "wwh_x"}, {"token"}),
        ({"new_password": NEW, "token": "a", "handle": "b", "code": "c"}, {"token"}),
        ({"new_password": NEW, "token": "a", "user_id": "b"}, {"user_id"}),
        ({"new_password": NEW, "token": None}, {"token"}),
    ],
)
async def test_what_a_reset_may_hold(api: Api, body: dict[str, object], faults: set[str]) -> None:
    """One proof, and no field that names whose password it is (H4)."""
    answer = await api.post("/password/reset", json=body)
    assert (answer.status_code, set(fields(answer))) == (422, faults)


@pytest.mark.parametrize(
    "email", ["", "a", "a@b@c", "a@b,c@d", "ada@example.org\r\nBcc: x@y.z", "ada@exam ple.org", "a@" + "b." * 50_000]
)
async def test_H7_what_is_no_address_is_refused(api: Api, email: str) -> None:
    """By its form alone, which tells nothing about anyone."""
    answer = await api.post("/password/forgot", json={"email": email})
    assert answer.status_code in (400, 413, 422)


async def test_H8_mail_goes_to_the_address_that_is_stored(tmp_path: Path) -> None:
    """Not to one that only looks the same to the database's rules."""
    async with mailing(tmp_path) as (api, box):
        await api.register("ada", email="Ada.L@exämple.org")
        await forgot(api, "ada.l@XN--EXMPLE-CUA.org")
        for other in ("ada.l\u0131@exämple.org", "\u212ada@example.org", "ada.l＠exämple.org"):
            await api.post("/password/forgot", json={"email": other})
        await deliver(api)
        assert {str(mail["To"]) for mail in box.mails} == {"Ada.L@xn--exmple-cua.org"}


async def test_H3_links_come_from_the_settings(tmp_path: Path) -> None:
    """No header of a request changes them."""
    given = {"public_url": "https://auth.example.com/id", "trusted_proxies": "1", "docs": "on"}
    async with mailing(tmp_path, **given) as (api, box):
        await api.post("/register", json={"username": "ada", "email": TO, "password": PASSWORD})
        spoofed = dict.fromkeys(("Host", "X-Forwarded-Host", "X-Original-Host", "X-Forwarded-Server"), "evil.example")
        spoofed |= {"Forwarded": "host=evil.example;proto=http", "X-Forwarded-Proto": "http"}
        answer = await api.post("/password/forgot", json={"email": TO}, headers=spoofed)
        assert answer.status_code == 202
        await deliver(api)
        (mail,) = box.mails
        assert f"https://auth.example.com/id/links/{box.link(TO)}" in box.texts(TO)[0]
        assert "evil" not in mail.as_string()


async def test_a_mailbox_is_not_flooded(tmp_path: Path) -> None:
    """Nor from ever new networks; every request is answered alike, and it does not matter whether anyone has it."""
    async with mailing(tmp_path, mail_limit="3/1d", mail_address_limit="4/1h") as (api, box):
        await api.register("ada", email="ada.l@example.org")
        for address in ("ada.l@example.org", "nobody@example.org"):
            statuses = [
                (await api.elsewhere(f"198.51.{number}.7").post("/password/forgot", json={"email": each})).status_code
                for number, each in enumerate((address, address.upper()) * 4)
            ]
            assert statuses == [202] * 8
        await deliver(api)
        assert len(box.mails) == 3
        one_place = [
            (await api.post("/password/forgot", json={"email": f"user{number}@example.org"})).status_code
            for number in range(5)
        ]
        assert one_place == [202, 202, 202, 202, 429]


async def test_no_stranger_closes_the_way_back(tmp_path: Path) -> None:
    """⚑ Whatever strangers ask for, with whichever spelling, the owner has a link that works, also when theirs end."""
    async with mailing(tmp_path, mail_limit="3/1d", email_login="on") as (api, box):
        await api.register("ada", email="ada.l@example.org")
        asked = [
            *[("/password/forgot", spelling) for spelling in ("adal@example.org", "ada.l+x@example.org")] * 5,
            *[("/login/code", "ada.l@example.org"), ("/email/verification", "ada.l@example.org")] * 5,
        ]
        for number, (route, email) in enumerate(asked):
            answer = await api.elsewhere(f"198.51.{number}.7").post(route, json={"email": email})
            assert answer.status_code == 202
        await deliver(api)
        assert "Set a new password" not in box.subjects("ada.l@example.org")
        for _ in range(5):
            await forgot(api, "ada.l@example.org")
        await deliver(api)
        assert box.subjects("ada.l@example.org").count("Set a new password") == 3
        api.clock.advance(1800)
        await forgot(api, "ada.l@example.org")
        await forgot(api, "ada.l@example.org")
        await deliver(api)
        assert box.subjects("ada.l@example.org").count("Set a new password") == 4
        body = {"token": box.link("ada.l@example.org"), "new_password": NEW}
        assert (await api.post("/password/reset", json=body)).status_code == 204


async def test_a_code_that_was_not_sent_works_for_no_one(tmp_path: Path) -> None:
    """⚑ So that asking often is no way to guess often."""
    async with mailing(tmp_path, mail_limit="1/1d", email_login="on") as (api, box):
        await api.register("ada", email=TO)
        for _ in range(3):
            await forgot(api)
        await deliver(api)
        bound = await api.kernel.database.scan("SELECT id FROM ww_one_time WHERE user_id IS NOT NULL")
        assert (len(bound), len(box.mails)) == (1, 1)


async def test_without_mail_it_says_so(tmp_path: Path) -> None:
    """A public service without a mail server."""
    given = {"public_url": "https://auth.example.com", "trusted_proxies": "1", "docs": "on", "email_login": "off"}
    async with served(tmp_path, **given) as api:
        refused(await api.post("/password/forgot", json={"email": TO}), 403, "mail_off")


async def test_one_network_does_not_guess_at_the_codes_of_many_mails(tmp_path: Path) -> None:
    """⚑ Five tries a mail were its only limit. A right code and a link count nothing; elsewhere all goes on."""
    async with mailing(tmp_path, mail_code_limit="4/1h") as (api, box):
        await api.register("ada", email=TO)
        handle = await forgot(api)
        await deliver(api)
        body = {"handle": handle, "code": box.code(TO), "new_password": NEW}
        for number in range(4):
            route = ("/password/reset", "/email/verify")[number % 2]
            guess = {"handle": f"wwh_{number:043d}", "code": "123456"}
            extra = {"new_password": NEW} if route == "/password/reset" else {}
            refused(await api.post(route, json=guess | extra), 400, "one_time_invalid")
        limited = await api.post("/password/reset", json=body)
        refused(limited, 429, "too_many_attempts")
        assert (await api.post("/email/verify", json={"handle": handle, "code": "1"})).status_code == 429
        assert (await api.elsewhere().post("/password/reset", json=body)).status_code == 204
