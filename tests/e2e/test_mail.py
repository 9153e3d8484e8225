"""Mail from real processes: two workers, one mail server, every mail once, and no link in the log."""

from __future__ import annotations

import time

import httpx2

from tests.e2e.client import PASSWORD
from tests.e2e.fixtures import Serve
from tests.e2e.server import UNLIMITED
from tests.mail.mailbox import Mailbox, receiving

PEOPLE = 12


def arrived(box: Mailbox, number: int) -> None:
    """Wait until so many mails have arrived."""
    for _ in range(600):
        if len(box.mails) >= number:
            return
        time.sleep(0.1)
    raise AssertionError(f"{len(box.mails)} of {number} mails")


def test_two_workers_send_each_mail_once(serve: Serve) -> None:
    """A registration by link, a password by code; the log has neither."""
    with receiving() as box:
        server = serve(
            "--workers",
            "2",
            **UNLIMITED,
            WATCHWORD_SMTP_URL=box.url,
            WATCHWORD_MAIL_FROM="Example <no-reply@example.com>",
            WATCHWORD_EMAIL_VERIFICATION="required",
            WATCHWORD_LOG_LEVEL="debug",
        )
        with httpx2.Client(base_url=server.url) as api:
            for number in range(PEOPLE):
                body = {"email": f"user{number}@example.org", "password": PASSWORD}
                assert api.post("/register", json=body).status_code == 202
            arrived(box, PEOPLE)
            to = "user0@example.org"
            link = box.link(to)
            assert api.post("/email/verify", json={"token": link, "password": PASSWORD}).status_code == 204
            handle = api.post("/password/forgot", json={"email": to}).json()["handle"]
            api.post("/password/forgot", json={"email": "user1@example.org"})  # who has not confirmed it yet
            arrived(box, PEOPLE + 1)
            code = box.code(to)
            body = {"handle": handle, "code": code, "new_password": "quiet-harbor-lantern"}
            assert api.post("/password/reset", json=body).status_code == 204
            assert api.post("/login", json={"email": to, "password": "quiet-harbor-lantern"}).status_code == 200
            arrived(box, PEOPLE + 2)
        time.sleep(3)  # a second turn of both workers, in which nothing may come twice
        sent = sorted(str(mail["To"]) for mail in box.mails)
        assert sent == sorted([*(f"user{number}@example.org" for number in range(PEOPLE)), to, to])
        assert len({str(mail["Message-ID"]) for mail in box.mails}) == PEOPLE + 2
        log = server.log()
        assert link not in log
        assert handle not in log
        assert "Traceback" not in log
