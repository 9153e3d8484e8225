"""Hands mails over: to a mail server, or to a developer's terminal."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from email.errors import MessageError
from typing import Protocol

from watchword import hosts
from watchword.errors import WatchwordError
from watchword.mail.message import Mail, written
from watchword.settings import smtp_url

SECONDS = 60
"""Within which a batch is handed over; a mail that waits longer is tried again."""

MOST_TOLD = 300
"""Characters of a mail server's answer that are kept."""


class NotSent(WatchwordError):
    """One mail was not taken.

    :param final: another try would fail too.
    """

    code = "mail_not_sent"

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(_plain(message))
        self.final = final


Outcome = NotSent | None


class Sender(Protocol):
    """What takes mails."""

    async def send(self, mails: Sequence[Mail]) -> list[Outcome]:
        """Hand mails over; return for each None or why it was not taken. Never raises `NotSent`."""
        ...


class Smtp:
    """A mail server. TLS is required unless its URL says otherwise.

    :param url: as in the settings.
    :param sender: what mail comes from.
    """

    def __init__(self, url: str, sender: str) -> None:
        self._server = smtp_url.read(url)
        self._sender = sender

    async def send(self, mails: Sequence[Mail]) -> list[Outcome]:
        """Hand mails over on one connection."""
        outcomes: list[Outcome] = []
        try:
            async with asyncio.timeout(SECONDS):
                await self._over_one_connection(mails, outcomes)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the mails wait for another try
            fault = NotSent(_reason(error))
            outcomes.extend([fault] * (len(mails) - len(outcomes)))
        return outcomes

    async def greet(self) -> Outcome:
        """Connect and log in as for a mail, and send none; return what is wrong."""
        try:
            async with asyncio.timeout(SECONDS):
                await self._over_one_connection((), [])
        except Exception as error:  # noqa: BLE001 - as in `send`: whatever went wrong is the answer
            return NotSent(_reason(error))
        return None

    async def _over_one_connection(self, mails: Sequence[Mail], outcomes: list[Outcome]) -> None:
        import aiosmtplib  # here: commands that send nothing start faster

        server = self._server
        # Connected by us: asyncio tries one address after the other, and gives the first of them all of the time.
        loop = asyncio.get_running_loop()
        reached = await hosts.connected(await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM))
        client = aiosmtplib.SMTP(
            hostname=server.host,  # whose certificate it has
            sock=reached,
            username=server.user,
            password=server.password,
            use_tls=server.tls == "implicit",
            start_tls=server.tls == "starttls",  # True: refused by a server without it
            timeout=SECONDS / 2,
        )
        async with client:
            for mail in mails:
                outcomes.append(await self._one(client.send_message, mail))  # noqa: PERF401 - kept if a later one raises

    async def _one(self, send: Callable[..., object], mail: Mail) -> Outcome:
        import aiosmtplib

        try:
            await send(written(mail, self._sender))  # type: ignore[misc]
        except (ValueError, MessageError) as error:  # of this mail alone: it must not stop those behind it
            return NotSent(str(error), final=True)
        except aiosmtplib.SMTPRecipientsRefused as error:
            return _answered(error.recipients[0])
        except aiosmtplib.SMTPSenderRefused as error:  # a setting, which an operator can put right
            return NotSent(f"{error.code} {error.message}")
        except aiosmtplib.SMTPResponseException as error:
            return _answered(error)
        return None


class Console:
    """Prints mails, for a developer without a mail server. Links and codes are in them."""

    def __init__(self, write: Callable[[str], object] | None = None) -> None:
        self._write = write or _to_stderr

    async def send(self, mails: Sequence[Mail]) -> list[Outcome]:
        """Print each mail's text."""
        for mail in mails:
            self._write(printed(mail))
        return [None] * len(mails)


def printed(mail: Mail) -> str:
    """Return a mail as a developer reads it: indented, so that no line of it passes for one of the log."""
    lines = (f"to {mail.recipient}: {mail.subject}", *mail.text.splitlines())
    return "mail (no WATCHWORD_SMTP_URL is set, so it is printed here)\n" + "".join(f"    | {line}\n" for line in lines)


def _to_stderr(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


_PERMANENT = range(500, 600)  # RFC 5321 section 4.2.1: 5yz is a permanent negative answer


def _answered(error: object) -> NotSent:
    code, message = int(getattr(error, "code", 0)), getattr(error, "message", "")
    return NotSent(f"{code} {message}", final=code in _PERMANENT)


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "the mail server did not answer in time"
    return f"{type(error).__name__}: {error}"


def _plain(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MOST_TOLD]
