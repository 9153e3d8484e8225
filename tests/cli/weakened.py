"""The real service behind layers that each undo one of its defences, as a careless verifier or proxy would.

Each layer is an ASGI middleware around `Watchword`. It holds the service's signing key, so that it can let in what the
service would refuse: it gives the request a token that is good.
"""

from __future__ import annotations

import hmac
import json
import logging
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import structlog
import uvicorn
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.certificates import Signed
from tests.e2e.server import UNLIMITED
from watchword import Settings, Watchword, base64url
from watchword.settings.table import SETTINGS
from watchword.tokens import jwk as jwk_format
from watchword.tokens.sign import sign_access_unchecked

App = Callable[[Any, Any, Any], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
UNLIMITED_NAMES = {row.name: "off" for row in SETTINGS if row.variable in UNLIMITED}


class Answer:
    """An answer of the real service, to be changed before it is sent."""

    def __init__(self, status: int, headers: Headers, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def code(self) -> str:
        try:
            return str(json.loads(self.body).get("code", ""))
        except (ValueError, AttributeError):
            return ""

    def becomes(self, status: int, body: dict[str, Any]) -> None:
        self.status, self.body = status, json.dumps(body).encode()
        kept = [each for each in self.headers if each[0] == b"set-cookie"]
        self.headers = [(b"content-type", b"application/json"), *kept]


class Weakness:
    """One layer: `asks` changes a request, `answers` its answer."""

    def __init__(self, app: App, watchword: Watchword) -> None:
        self.app = app
        self.watchword = watchword

    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        """Change the request, if at all."""

    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        """Change the answer, if at all."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, messages = b"", []
        while True:
            message = await receive()
            messages.append(message)
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        self.asks(scope, body)
        answer = Answer(0, [], b"")

        async def again() -> Any:
            return messages.pop(0) if messages else await receive()

        async def keep(message: Any) -> None:
            if message["type"] == "http.response.start":
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        await self.app(scope, again, keep)
        self.answers(scope, body, answer)
        headers = [each for each in answer.headers if each[0] != b"content-length"]
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    @property
    def key(self) -> Any:
        assert self.watchword._kernel is not None
        return self.watchword._kernel.keys.ring.signing

    def let_in(self, scope: dict[str, Any], claims: dict[str, Any]) -> None:
        """Give the request a good token with these claims."""
        replace(scope, b"authorization", f"Bearer {sign_access_unchecked(claims, self.key)}".encode())


def header(scope: dict[str, Any], name: bytes) -> bytes:
    return next((value for each, value in scope["headers"] if each == name), b"")


def replace(scope: dict[str, Any], name: bytes, value: bytes | None) -> None:
    kept = [each for each in scope["headers"] if each[0] != name]
    scope["headers"] = kept if value is None else [*kept, (name, value)]


def token(scope: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes] | None:
    """Header, claims, signing input and signature of the bearer token."""
    parts = header(scope, b"authorization").removeprefix(b"Bearer ").split(b".")
    if len(parts) != 3:
        return None
    head, claims = (json.loads(base64url.decode(each)) for each in parts[:2])
    return head, claims, b".".join(parts[:2]), base64url.decode(parts[2]) if parts[2] else b""


class AcceptsNone(Weakness):
    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        found = token(scope)
        if found is not None and found[0]["alg"].lower() == "none":
            self.let_in(scope, found[1])


class ConfusesAlgorithms(Weakness):
    """It looks up the public key, and lets the token say what to do with it."""

    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        found = token(scope)
        if found is None or found[0]["alg"] != "HS256":
            return
        public = jwk_format.read_public(self.key.public_jwk())
        assert not isinstance(public, bytes)
        pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        if hmac.compare_digest(hmac.digest(pem, found[2], sha256), found[3]):
            self.let_in(scope, found[1])


class KnowsSecret(Weakness):
    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        found = token(scope)
        if found is not None and hmac.compare_digest(hmac.digest(b"changeme", found[2], sha256), found[3]):
            self.let_in(scope, found[1])


class BelievesItsToken(Weakness):
    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        found = token(scope)
        if found is not None and "jwk" in found[0]:
            self.let_in(scope, found[1])


class IgnoresExpiry(Weakness):
    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        found = token(scope)
        if found is not None and self.key.verification_key.matches(found[3], found[2]):
            self.let_in(scope, found[1] | {"exp": max(found[1]["exp"], int(time.time()) + 60)})


class IgnoresRevocation(Weakness):
    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        if answer.code == "token_revoked":
            answer.becomes(200, {"id": "still here"})


class ReplaysRefresh(Weakness):
    """A refresh token is good as long as its session is."""

    last: bytes = b""
    cookie: tuple[bytes, bytes] = (b"", b"")

    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        if scope["path"] != "/refresh":
            return
        if answer.status == 200:
            self.last, self.cookie = answer.body, next(each for each in answer.headers if each[0] == b"set-cookie")
        elif answer.code in {"refresh_superseded", "refresh_token_reused"}:
            answer.becomes(200, json.loads(self.last))
            answer.headers.append(self.cookie)


class BareCookie(Weakness):
    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        answer.headers = [
            (name, value.partition(b";")[0] + b"; Path=/" if name == b"set-cookie" else value)
            for name, value in answer.headers
        ]


class OpenCors(Weakness):
    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        if scope["method"] == "OPTIONS":
            answer.becomes(200, {})
        answer.headers += [
            (b"access-control-allow-origin", header(scope, b"origin") or b"*"),
            (b"access-control-allow-credentials", b"true"),
        ]


class IgnoresOrigin(Weakness):
    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        replace(scope, b"origin", None)
        replace(scope, b"sec-fetch-site", None)


class TellsNames(Weakness):
    """It says which of the two was wrong."""

    def __init__(self, app: App, watchword: Watchword) -> None:
        super().__init__(app, watchword)
        self._names: set[str] = set()

    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        if scope["path"] == "/register" and answer.status == 201:
            self._names.add(json.loads(body)["username"])
        if scope["path"] == "/login" and answer.code == "invalid_credentials":
            known = json.loads(body)["username"] in self._names
            said = json.loads(answer.body)
            answer.body = json.dumps(said | {"detail": "Wrong password." if known else "No such user."}).encode()


class BelievesClients(Weakness):
    """A proxy that passes on what a client claims, and is believed."""

    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        claimed = header(scope, b"x-forwarded-for")
        if claimed:
            scope["client"] = (claimed.partition(b",")[0].strip().decode(), 0)


class OneAddress(Weakness):
    """A proxy that is not believed: every client has its address."""

    def asks(self, scope: dict[str, Any], body: bytes) -> None:
        scope["client"] = ("10.9.8.7", 0)


class BareHeaders(Weakness):
    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        kept = (b"content-type", b"set-cookie")
        answer.headers = [each for each in answer.headers if each[0] in kept]


class FollowsHost(Weakness):
    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        host = header(scope, b"x-forwarded-host")
        if host and "/.well-known/" in scope["path"]:
            own = self.watchword.settings.public_url.removeprefix("http://").encode()
            answer.body = answer.body.replace(own, host)


class ShowsMetrics(Weakness):
    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        if scope["path"] == "/metrics":
            answer.becomes(200, {})
            answer.body = b"# HELP x y\n# TYPE x counter\nx 1\n"


class ReadsEverything(Weakness):
    """It reads a body of any length, and then finds it wrong."""

    def answers(self, scope: dict[str, Any], body: bytes, answer: Answer) -> None:
        if answer.status == 413:
            answer.becomes(422, {"code": "invalid_input"})


@contextmanager
def served(
    folder: Path, *weaknesses: type[Weakness], signed: Signed | None = None, **settings: Any
) -> Iterator[tuple[str, Watchword]]:
    """The service on a free port of this machine; its URL.

    :param signed: with a certificate, it speaks https.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        url = f"{'http' if signed is None else 'https'}://127.0.0.1:{port}"
        watchword = Watchword(Settings(port=port, public_url=url, data_dir=folder / "watchword-data", **settings))
        app: Any = watchword
        for weakness in weaknesses:
            app = weakness(app, watchword)
        plain: dict[str, Any] = {"server_header": False, "proxy_headers": False}
        if signed is not None:
            for name, content in (("ssl_certfile", signed.certificate), ("ssl_keyfile", signed.key)):
                plain[name] = folder / f"{name}.pem"
                plain[name].write_bytes(content)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on", loop="asyncio", **plain))
        # Its log would stand between the lines of the command.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server ended"
            time.sleep(0.01)
        try:
            yield url, watchword
        finally:
            server.should_exit = True
            thread.join()
            structlog.reset_defaults()
