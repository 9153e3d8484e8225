"""Asks a bare ASGI callable, without a server or a client library in between that would tidy the request up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec

from watchword.errors import TokenError, WatchwordError
from watchword.settings import Proxies
from watchword.tokens.claims import AccessClaims
from watchword.web.cookies import RefreshCookie
from watchword.web.dispatch import Dispatcher
from watchword.web.origin import OriginRule
from watchword.web.route import AccessToken, Anyone, Browser, Call, Header, Reply, Route, Speech

PUBLIC_URL = "https://auth.example"
TOKEN = "aaa.bbb.ccc"


@dataclass
class Answer:
    """What came back."""

    status: int = 0
    headers: list[Header] = field(default_factory=list)
    body: bytes = b""

    def __getitem__(self, name: str) -> str:
        """The header's only value."""
        values = self.every(name)
        assert len(values) == 1, (name, self.headers)
        return values[0]

    def every(self, name: str) -> list[str]:
        return [value.decode() for key, value in self.headers if key == name.lower().encode()]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        assert self["content-type"] == "application/problem+json"
        code: str = self.json["code"]
        return code


@dataclass
class Asker:
    """An ASGI callable to ask."""

    app: Any
    base: dict[str, Any] = field(default_factory=dict)

    def __call__(
        self,
        method: str,
        path: str,
        headers: Sequence[tuple[str, str | bytes]] = (),
        body: bytes | list[bytes] | None = None,
        **scope: Any,
    ) -> Answer:
        """One request. `body` in pieces stands for one that arrives piecemeal; `None` for none at all."""
        raw = [(name.lower().encode(), _bytes(value)) for name, value in headers]
        pieces = [b""] if body is None else [body] if isinstance(body, bytes) else list(body)
        messages = [
            {"type": "http.request", "body": piece, "more_body": number < len(pieces)}
            for number, piece in enumerate(pieces, 1)
        ]
        return self.exchange(method, path, raw, messages, **scope)

    def post(self, path: str, value: object, headers: Sequence[tuple[str, str]] = ()) -> Answer:
        """A JSON body."""
        return self("POST", path, [("content-type", "application/json"), *headers], json.dumps(value).encode())

    def form(self, path: str, body: bytes) -> Answer:
        return self("POST", path, [("content-type", "application/x-www-form-urlencoded")], body)

    def exchange(
        self, method: str, path: str, raw: list[tuple[bytes, bytes]], messages: list[dict[str, Any]], **scope: Any
    ) -> Answer:
        answer = Answer()

        async def receive() -> dict[str, Any]:
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                assert answer.status == 0, "started twice"
                answer.status, answer.headers = message["status"], list(message["headers"])
            else:
                answer.body += message.get("body", b"")

        whole = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": raw,
            "client": ("192.0.2.7", 40000),
            **self.base,
            **scope,
        }
        _drive(self.app(whole, receive, send))
        return answer


def _drive(coroutine: Any) -> None:
    """To its end in one go: nothing in the pipeline waits for anything but the body."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    raise AssertionError("the pipeline waited for something")


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def claims(*, roles: Sequence[str] = (), scopes: Sequence[str] = ()) -> AccessClaims:
    return AccessClaims(
        iss=PUBLIC_URL, sub="u1", aud=(PUBLIC_URL,), exp=2, iat=1, nbf=None, jti="j", client_id="watchword", sid="s1",
        scopes=frozenset(scopes), roles=frozenset(roles), ver=1, auth_time=1, amr=("pwd",), kid="k", extra={},
        session_mark=1, user_mark=2, key_mark=3,
    )  # fmt: skip


def verify(token: str) -> AccessClaims:
    """Stands for the verifier: one good token, everything else by its name."""
    if token == TOKEN:
        return claims()
    if token.startswith("token_"):
        raise TokenError("no", code=token)
    raise TokenError("The token is not one of ours.", code="token_malformed")


class LogIn(msgspec.Struct):
    """Says nothing about unknown fields: the pipeline refuses them all the same."""

    username: Annotated[str, msgspec.Meta(examples=["alice"])]
    password: str
    device: str | msgspec.UnsetType = msgspec.UNSET


class TokenForm(msgspec.Struct, forbid_unknown_fields=True):
    grant_type: str
    username: str | None = None
    password: str | None = None


class Shown(msgspec.Struct):
    """What a handler saw."""

    address: str
    agent: str
    request_id: str
    params: dict[str, str]
    body: Any
    caller: str | None


async def show(call: Call) -> Reply:
    caller = None if call.caller is None else call.caller.sub
    return Reply(
        Shown(call.client.address, call.client.agent, call.client.request_id, dict(call.params), call.body, caller)
    )


def raising(error: BaseException) -> Callable[[Call], Any]:
    async def handler(call: Call) -> Reply:
        raise error

    return handler


def route(method: str, path: str, handler: Any = show, access: Any = None, **more: Any) -> Route:
    return Route(method=method, path=path, handler=handler, access=access or Anyone(), summary=f"{path}", **more)


COOKIE = RefreshCookie(PUBLIC_URL)


async def read_cookie(call: Call) -> Reply:
    return Reply({"cookie": COOKIE.read(call.scope)}, headers=(COOKIE.write("wwr_next", 60),))


async def not_json(call: Call) -> Reply:
    return Reply(object())


ROUTES = (
    route("GET", "/open"),
    route("GET", "/profile", access=AccessToken()),
    route("PATCH", "/profile", access=AccessToken(), body=LogIn),
    route("DELETE", "/profile", access=AccessToken()),
    route("GET", "/admin/users", access=AccessToken(roles=("admin",))),
    route("GET", "/mail", access=AccessToken(scopes=("mail.read", "mail.list"))),
    route("POST", "/login", read_cookie, Browser(), body=LogIn),
    route("POST", "/refresh", read_cookie, Browser()),
    route("GET", "/glance", read_cookie, Browser()),
    route("POST", "/register", body=LogIn, limits=("register",)),
    route("POST", "/token", form=TokenForm, speech=Speech.OAUTH),
    route("POST", "/introspect", access=AccessToken(), form=TokenForm, speech=Speech.OAUTH),
    route("GET", "/sessions/{id}"),
    route("DELETE", "/sessions/{id}"),
    route("GET", "/users/{id}/sessions/{sid}"),
    route("GET", "/crash", raising(RuntimeError("SELECT secret FROM /etc/passwd"))),
    route("GET", "/unencodable", not_json),
    route("GET", "/.well-known/jwks.json", root=True, media_type="application/jwk-set+json"),
)


def dispatcher(
    *routes: Route, public_url: str = PUBLIC_URL, prefix: str = "", allowed: Sequence[str] = (), proxies: Proxies = 0,
    log: Any = None, headers: Sequence[str] = (),
) -> Asker:  # fmt: skip
    log = log or Silent()
    return Asker(
        Dispatcher(
            routes or ROUTES,
            prefix=prefix,
            public_url=public_url,
            verify=verify,
            origins=OriginRule(public_url, allowed, headers, log),
            trusted_proxies=proxies,
            log=log,
        )
    )


class Silent:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def error(self, event: str, **more: Any) -> None:
        self.lines.append((event, more))

    warning = error


def failing(error: WatchwordError, **more: Any) -> Answer:
    """What an error that a handler raises becomes."""
    return dispatcher(route("GET", "/x", raising(error), **more))("GET", "/x")
