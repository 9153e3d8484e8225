"""`watchword mail` as an operator uses it."""

from __future__ import annotations

import json

from tests.cli.conftest import Run
from tests.mail.mailbox import receiving

SENDER = {"WATCHWORD_MAIL_FROM": "Example <no-reply@example.com>"}


def test_a_mail_is_tried(run: Run) -> None:
    """It arrives, or the command says why not; the URL is never shown."""
    with receiving() as box:
        box.refuses = {"gone@example.org": "550 no such user"}
        server = {"WATCHWORD_SMTP_URL": box.url, **SENDER}
        done = run("mail", "test", "ada@exämple.org", "--language", "de", **server)
        assert (done.code, done.out) == (0, "The mail server took a mail to ada@xn--exmple-cua.org.\n"), done.err
        assert run("mail", "test", "gone@example.org", **server).err.startswith(
            "error: the mail was not taken: 550 no such user"
        )
        assert run("mail", "test", "ada@example.org\nBcc: x@y.example", **server).code == 1
    assert box.subjects("ada@xn--exmple-cua.org") == ["Der Versand funktioniert"]
    assert len(box.mails) == 1
    done = run("mail", "test", "ada@example.org")
    assert (done.code, "WATCHWORD_SMTP_URL" in done.err) == (2, True)


def test_a_mail_is_shown(run: Run) -> None:
    """As text and as HTML; an unknown name or language is answered with those that there are."""
    assert run("mail", "preview", "password_changed").out.startswith("Subject: Your password was changed\n\n")
    assert run("mail", "preview", "login_code", "--html", "--language", "de").out.startswith("<!doctype html>")
    unknown = run("mail", "preview", "nothing")
    assert (unknown.code, "reset_password" in unknown.err) == (3, True)
    assert "de, en" in run("mail", "preview", "test", "--language", "xx").err


def test_mails_that_were_given_up(run: Run) -> None:
    """There are none here; what is not there cannot be sent again."""
    assert run("migrate").code == 0
    assert json.loads(run("mail", "failed", "--json").out) == {"items": [], "sent_again": 0}
    assert run("mail", "failed", "--all").out == "0 will be sent again by the service.\n"
    assert run("mail", "failed", "--retry", "x").code == 3
    assert run("mail", "failed", "--retry", "x", "--all").code == 2
