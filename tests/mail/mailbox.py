"""A real mail server on a free port of this machine, and what it received."""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

with warnings.catch_warnings():  # aiosmtpd's own, at import and at use
    warnings.simplefilter("ignore")
    from aiosmtpd.smtp import SMTP, AuthResult

LINK = re.compile(r"https?://\S+/links/(wwl_[\w-]{43})")
CODE = re.compile(r"^([0-9]{6})$", re.MULTILINE)


class Mailbox:
    """Every mail that arrived, in order, and how the server answers."""

    def __init__(self) -> None:
        self.url = ""
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Any] = []
        self.refuses: dict[str, str] = {}
        self.logins: list[tuple[bytes, bytes]] = []
        self._lock = threading.Lock()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """Called by aiosmtpd."""
        if address in self.refuses:
            return self.refuses[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_MAIL(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        """Called by aiosmtpd."""
        if address in self.refuses:
            return self.refuses[address]
        envelope.mail_from = address
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Called by aiosmtpd."""
        with self._lock:
            self.envelopes.append(envelope)
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))  # type: ignore[arg-type]
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> Any:
        """Called by aiosmtpd."""
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"right", handled=False)

    def texts(self, recipient: str) -> list[str]:
        """The texts of the mails to one address."""
        return [text_of(mail) for mail in self.mails if mail["To"] == recipient]

    def subjects(self, recipient: str) -> list[str]:
        """The subjects of the mails to one address."""
        return [str(mail["Subject"]) for mail in self.mails if mail["To"] == recipient]

    def link(self, recipient: str) -> str:
        """The token of the newest link to an address."""
        return LINK.findall(self.texts(recipient)[-1])[-1]

    def code(self, recipient: str) -> str:
        """The newest code to an address."""
        return CODE.findall(self.texts(recipient)[-1])[-1]


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    """One part of a mail."""
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


@contextmanager
def receiving(*, tls: ssl.SSLContext | None = None, implicit: bool = False, auth: bool = False) -> Iterator[Mailbox]:
    """A mail server in a thread. Without `tls` its URL says so."""
    mailbox, ready, ends = Mailbox(), threading.Event(), threading.Event()
    more: dict[str, Any] = {"tls_context": tls, "require_starttls": True} if tls and not implicit else {}
    if auth:
        more |= {"authenticator": mailbox.authenticate, "auth_required": True, "auth_require_tls": False}
    scheme, query = ("smtps", "") if implicit else ("smtp", "" if tls else "?starttls=off")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        protocols: list[Any] = []

        def connected() -> SMTP:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it advises against what a test is about
                protocols.append(SMTP(mailbox, hostname="127.0.0.1", loop=loop, **more))
            return protocols[-1]  # type: ignore[no-any-return]

        server = await loop.create_server(connected, "127.0.0.1", 0, ssl=tls if implicit else None)
        mailbox.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}{query}"
        ready.set()
        await asyncio.to_thread(ends.wait)
        server.close()
        for each in protocols:
            for transport in (each.transport, each._original_transport):
                if transport is not None:
                    transport.abort()
        await asyncio.sleep(0.05)  # the transports close their sockets

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield mailbox
    finally:
        ends.set()
        thread.join()
