"""The mail server and the sender, as operators write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.settings.test_sources import refused
from watchword.errors import SettingsError
from watchword.settings import Settings, load
from watchword.settings.smtp_url import SmtpServer, read
from watchword.settings.values import Unfit, sender

SENDER = {"WATCHWORD_MAIL_FROM": "no-reply@example.com"}
PUBLIC = {"WATCHWORD_PUBLIC_URL": "https://auth.example.com", "WATCHWORD_TRUSTED_PROXIES": "1"}


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", SmtpServer("mail.example.com", 587, "starttls", None, None)),
        ("smtps://u:p@mail.example.com", SmtpServer("mail.example.com", 465, "implicit", "u", "p")),
        ("smtp://u%40x:p%2F%23@[2001:db8::1]:25", SmtpServer("2001:db8::1", 25, "starttls", "u@x", "p/#")),
        ("smtp://relay:25?starttls=off", SmtpServer("relay", 25, "off", None, None)),
        ("smtp://u:p@127.0.0.1:25?starttls=off", SmtpServer("127.0.0.1", 25, "off", "u", "p")),
    ],
)
def test_what_a_url_means(url: str, server: SmtpServer) -> None:
    """Ports and TLS as mail servers use them."""
    assert read(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://:25",
        "smtp://mail.example.com:0",
        "smtp://mail.example.com:99999",
        "smtp://mail.example.com/path",
        "smtp://mail.example.com#x",
        "smtp://user@mail.example.com",
        "smtp://:password@mail.example.com",
        "smtp://u:p@mail.example.com?starttls=off",
        "smtp://mail.example.com?starttls=maybe",
        "smtp://mail.example.com?tls=off",
        "smtps://mail.example.com?starttls=off",
        "smtp://u:p%0d%0aRCPT@mail.example.com",
        "smtp://mail example.com",
        "smtp://[::1",
        "smtp://" + "a" * 300 + ".example.com",
    ],
)
def test_what_is_refused(url: str, tmp_path: Path) -> None:
    """Each with a sentence that repeats nothing of the URL."""
    with pytest.raises(Unfit):
        read(url)
    message = refused({}, {"WATCHWORD_SMTP_URL": url, **SENDER}, tmp_path)["WATCHWORD_SMTP_URL"]
    assert "p%0d" not in message
    assert "example.com:0" not in message


def test_the_password_is_never_shown(tmp_path: Path) -> None:
    """A file may hold the URL; no output has it."""
    path = tmp_path / "url"
    path.write_text("smtp://u:hunter2@mail.example.com\n")
    path.chmod(0o600)
    settings = load({}, {"WATCHWORD_SMTP_URL_FILE": str(path), **SENDER}, tmp_path).settings
    assert settings.smtp_url == "smtp://u:hunter2@mail.example.com"
    assert "hunter2" not in repr(settings) + str(settings.shown())


@pytest.mark.parametrize(
    "text", ["no-reply@example.com", "Example <no-reply@example.com>", "Müller & Söhne <a@xn--mller-kva.de>"]
)
def test_what_a_sender_may_be(text: str) -> None:
    """An address, or a name and an address."""
    assert sender(f" {text} ") == text


@pytest.mark.parametrize(
    "text",
    [
        *("", "example.com", "a@b@c", "<a@example.com", "Example a@example.com", "a@example.com, b@example.com"),
        *("Ex\r\nBcc: x <a@example.com>", 'Ex"ample <a@example.com>', "a@exämple.com", "a@example.com>\nX: y"),
        *("x" * 200 + " <a@example.com>", "a@" + "b." * 100_000 + "c"),
    ],
)
def test_what_no_sender_is(text: str) -> None:
    """Nothing that could become another header."""
    with pytest.raises(Unfit):
        sender(text)


def test_what_has_to_go_together(tmp_path: Path) -> None:
    """A mail server needs a sender, and confirmed addresses beyond this machine a mail server."""
    server = {"WATCHWORD_SMTP_URL": "smtp://mail.example.com"}
    assert "mail server" in refused({}, server, tmp_path)["WATCHWORD_MAIL_FROM"]
    for name, value in (("EMAIL_VERIFICATION", "required"), ("EMAIL_VERIFICATION", "optional"), ("EMAIL_LOGIN", "on")):
        asked = {f"WATCHWORD_{name}": value}
        assert "mail server" in refused({}, {**PUBLIC, **asked}, tmp_path)[f"WATCHWORD_{name}"]
        load({}, {**PUBLIC, **asked, **server, **SENDER}, tmp_path)
        load({}, asked, tmp_path)
    assert not load({}, PUBLIC, tmp_path).settings.sends_mail
    assert load({}, {}, tmp_path).settings.sends_mail
    with pytest.raises(SettingsError, match="MAIL_TEMPLATES"):
        Settings(mail_templates=tmp_path / "missing")
