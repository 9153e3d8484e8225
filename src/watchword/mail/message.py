"""One mail, and how it is written down (RFC 5322)."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import NamedTuple

_RECIPIENT = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_LONGEST_SUBJECT = 150


class Mail(NamedTuple):
    """A mail to one recipient.

    :param id: of its row; a mail that is sent twice has one `Message-ID`.
    :param recipient: ASCII; a domain of other letters is written `xn--…`.
    :param at: when it was written, in seconds since 1970 UTC.
    """

    id: str
    recipient: str
    language: str
    subject: str
    text: str
    html: str
    at: int


class Unwritable(ValueError):
    """No try will succeed: the recipient or the subject cannot stand in a header."""


def is_recipient(address: str) -> bool:
    """Tell whether an address can stand in a header and in SMTP: ASCII, no quotes, no spaces, no line breaks."""
    return _RECIPIENT.fullmatch(address) is not None


def written(mail: Mail, sender: str) -> EmailMessage:
    """Return the message. Raises `Unwritable`: nothing that was given becomes another header.

    :param sender: `no-reply@example.com` or `Example <no-reply@example.com>`.
    """
    if not is_recipient(mail.recipient):
        raise Unwritable("the recipient is no address that can be written in a header")
    if not mail.subject or len(mail.subject) > _LONGEST_SUBJECT or not mail.subject.isprintable():
        raise Unwritable("the subject is empty, too long or holds control characters")
    name, address = parted(sender)
    message = EmailMessage(policy=SMTP)
    message["From"] = Address(display_name=name, addr_spec=address)
    message["To"] = Address(addr_spec=mail.recipient)
    message["Subject"] = mail.subject
    message["Message-ID"] = f"<{mail.id}@{address.rpartition('@')[2]}>"
    message["Date"] = datetime.fromtimestamp(mail.at, UTC)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no one's absence note answers
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    message["Content-Language"] = mail.language
    return message


def parted(sender: str) -> tuple[str, str]:
    """Return the name and the address of a sender."""
    name, bracket, rest = sender.rpartition("<")
    return (name.strip(), rest.removesuffix(">")) if bracket else ("", sender)
