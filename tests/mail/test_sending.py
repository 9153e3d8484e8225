"""Mails on their way: what a real mail server receives, refuses, and never sees."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import Authority
from tests.mail.mailbox import receiving, text_of
from watchword.mail.message import Mail, Unwritable, is_recipient, written
from watchword.mail.sending import Console, Smtp

SENDER = "Example <no-reply@example.com>"
MAIL = Mail(
    "0197", "ada@example.org", "de", "Grüße", "Ein Text – mit Umlauten.\n", "<p>Ein <b>Text</b></p>", 1_800_000_000
)
HOSTILE = [
    "ada@example.org\r\nBcc: eve@example.net",
    "ada@example.org\nBcc: eve@example.net",
    "ada@example.org, eve@example.net",
    "Ada <ada@example.org>",
    '"ada\r\n"@example.org',
    "ada@example.org>\r\nRCPT TO:<eve@example.net",
    "ada@exämple.org",
    "ada example.org",
    "ada@example.org ",
    "",
    "a" * 100_000 + "@example.org",
]


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS for 127.0.0.1, by an authority that this process trusts."""
    made = Authority()
    signed = made.signed("127.0.0.1")
    (tmp_path / "authority.pem").write_bytes(made.certificate)
    (tmp_path / "server.pem").write_bytes(signed.key + signed.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.pem")
    return context


async def test_what_arrives() -> None:
    """Text and HTML of one mail, with letters beyond ASCII, and headers by which other programs know it."""
    with receiving() as box:
        assert await Smtp(box.url, SENDER).send([MAIL]) == [None]
    (mail,) = box.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, "ada@example.org", "Grüße")
    assert (mail["Message-ID"], mail["Auto-Submitted"]) == ("<0197@example.com>", "auto-generated")
    assert (mail["Date"].datetime.timestamp(), mail["Content-Language"]) == (1_800_000_000, "de")
    assert (text_of(mail), text_of(mail, "html").strip()) == (MAIL.text, MAIL.html)
    assert box.envelopes[0].mail_from == "no-reply@example.com"


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
async def test_H13_no_recipient_becomes_a_header_or_a_command(hostile: str) -> None:
    """Such a mail is given up; the one beside it arrives, and no other."""
    assert not is_recipient(hostile)
    with receiving() as box:
        bad, good = await Smtp(box.url, SENDER).send([MAIL._replace(recipient=hostile), MAIL])
    assert (bad is not None and bad.final, good) == (True, None)
    assert [envelope.rcpt_tos for envelope in box.envelopes] == [["ada@example.org"]]


@pytest.mark.parametrize("subject", ["a\r\nBcc: eve@example.net", "a\nb", "", "x" * 200, "a\u2028b", "a\x00b"])
def test_H13_no_subject_becomes_a_header(subject: str) -> None:
    """Nor does a template of the operator's that puts a line break there."""
    with pytest.raises(Unwritable):
        written(MAIL._replace(subject=subject), SENDER)


async def test_a_refused_recipient_is_final_and_a_busy_server_is_not() -> None:
    """RFC 5321: 5yz is permanent, 4yz is not. The server's words are kept, and the others arrive."""
    with receiving() as box:
        box.refuses = {"gone@example.org": "550 no such user here", "later@example.org": "451 greylisted"}
        mails = [MAIL._replace(recipient=f"{name}@example.org") for name in ("gone", "later", "ada")]
        gone, later, ada = await Smtp(box.url, SENDER).send(mails)
    assert gone is not None
    assert (gone.message, gone.final) == ("550 no such user here", True)
    assert later is not None
    assert (later.message, later.final) == ("451 greylisted", False)
    assert ada is None
    assert len(box.mails) == 1


async def test_a_refused_sender_is_not_final() -> None:
    """It is a setting; the mails wait until an operator has put it right."""
    with receiving() as box:
        box.refuses = {"no-reply@example.com": "550 not yours"}
        (outcome,) = await Smtp(box.url, SENDER).send([MAIL])
    assert outcome is not None
    assert (outcome.message, outcome.final) == ("550 not yours", False)


async def test_a_server_that_is_away_is_tried_again() -> None:
    """No mail is lost by it."""
    with receiving() as box:
        url = box.url
    outcomes = await Smtp(url, SENDER).send([MAIL, MAIL])
    assert [outcome is not None and not outcome.final for outcome in outcomes] == [True, True]


async def test_starttls_is_required() -> None:
    """A server without it gets neither the password nor a mail: anyone in between could have hidden it."""
    with receiving(auth=True) as box:
        url = box.url.partition("?")[0].replace("smtp://", "smtp://ada:right@")
        (outcome,) = await Smtp(url, SENDER).send([MAIL])
    assert outcome is not None
    assert not outcome.final
    assert (box.mails, box.logins) == ([], [])


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "smtps"])
async def test_tls_and_a_password(authority: ssl.SSLContext, *, implicit: bool) -> None:
    """Both forms of TLS, with a log-in; a wrong password is tried again later, since an operator can put it right."""
    with receiving(tls=authority, implicit=implicit, auth=True) as box:
        right, wrong = (box.url.replace("://", f"://ada:{word}@") for word in ("right", "wrong"))
        assert await Smtp(right, SENDER).send([MAIL]) == [None]
        (outcome,) = await Smtp(wrong, SENDER).send([MAIL])
    assert outcome is not None
    assert not outcome.final
    assert "wrong" not in outcome.message
    assert len(box.mails) == 1


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "smtps"])
async def test_a_certificate_that_no_one_vouches_for_is_refused(
    authority: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, *, implicit: bool
) -> None:
    """Nothing is sent to it."""
    monkeypatch.delenv("SSL_CERT_FILE")
    with receiving(tls=authority, implicit=implicit, auth=True) as box:
        (outcome,) = await Smtp(box.url.replace("://", "://ada:right@"), SENDER).send([MAIL])
    assert outcome is not None
    assert (box.mails, box.logins) == ([], [])


async def test_a_server_whose_first_address_leads_nowhere_is_reached_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As where a network has IPv6 in its names only."""
    loop, tried = asyncio.get_running_loop(), list[str]()
    really = loop.sock_connect

    async def look_up(_host: str, port: int, **_: object) -> list[Any]:
        nowhere = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fd00::1", port, 0, 0))
        return [nowhere, (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    async def connect(one: socket.socket, where: tuple[str, int]) -> None:
        tried.append(where[0])
        if where[0] != "127.0.0.1":
            await asyncio.Event().wait()
        await really(one, where)

    monkeypatch.setattr("watchword.hosts.EACH_SECONDS", 0.01)
    with receiving() as box:
        monkeypatch.setattr(loop, "getaddrinfo", look_up)
        monkeypatch.setattr(loop, "sock_connect", connect)
        assert await Smtp(box.url.replace("127.0.0.1", "mail.example.com"), SENDER).send([MAIL]) == [None]
    assert tried == ["fd00::1", "127.0.0.1"]
    assert len(box.mails) == 1


async def test_a_developer_reads_it_in_the_terminal() -> None:
    """Each line is indented: none passes for one of the log."""
    printed: list[str] = []
    assert await Console(printed.append).send([MAIL]) == [None]
    head, *lines = printed[0].splitlines()
    assert "WATCHWORD_SMTP_URL" in head
    assert lines == ["    | to ada@example.org: Grüße", "    | Ein Text – mit Umlauten."]
