"""Tokens of real services, one service for each algorithm, and how others are asked to read them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.server import UNLIMITED, Server
from tests.tutorials.reading import claims, tampered

SECRET = "4gXoYDCBvSIuRzPqJwTfNmHkLeWaVcUs"
AUDIENCE = "orders"
ALGORITHMS = ("ES256", "RS256", "PS256", "EdDSA", "Ed25519", "HS256")
REFUSED = ("for another audience", "of another issuer", "tampered 0", "tampered 1", "tampered 2", "tampered 3", "cut")


@dataclass(frozen=True)
class Issued:
    """A service and a token of it, as somebody else's API knows them: by address, or by a shared secret."""

    algorithm: str
    server: Server
    token: str

    @property
    def issuer(self) -> str:
        """Who issues."""
        return self.server.url

    @property
    def key_set_url(self) -> str:
        """Where the public keys are."""
        return f"{self.issuer}/.well-known/jwks.json"

    @property
    def secret(self) -> str | None:
        """What is shared where nothing is published."""
        return SECRET if self.algorithm == "HS256" else None

    @property
    def user_id(self) -> str:
        """Who the token is of."""
        return str(claims(self.token)["sub"])

    def readings(self) -> dict[str, dict[str, str]]:
        """What others are shown, each with the issuer and the audience that they expect: `good`, and `REFUSED`."""
        expected = {"issuer": self.issuer, "audience": AUDIENCE}
        shown = {
            "good": {**expected, "token": self.token},
            "for another audience": {**expected, "token": self.token, "audience": "invoices"},
            "of another issuer": {**expected, "token": self.token, "issuer": "https://elsewhere.example"},
            "cut": {**expected, "token": self.token[:-6]},
        }
        changed = tampered(self.token)
        return shown | {f"tampered {number}": {**expected, "token": changed[number]} for number in range(4)}

    def case(self) -> dict[str, Any]:
        """All of that for a script in another language."""
        return {
            "algorithm": self.algorithm,
            "issuer": self.issuer,
            "secret": self.secret,
            "readings": self.readings(),
        }


def start(folder: Path, algorithm: str, **settings: str) -> Server:
    """A service that signs with an algorithm, for the API `orders`."""
    folder.mkdir()
    signing = {"WATCHWORD_JWT_SECRET": SECRET} if algorithm == "HS256" else {"WATCHWORD_ALGORITHM": algorithm}
    return Server(folder, **UNLIMITED, WATCHWORD_AUDIENCE=AUDIENCE, **signing, **settings)


def start_all(folder: Path) -> dict[str, Issued]:
    """A service for each algorithm, side by side, with a token of each."""
    with ThreadPoolExecutor(len(ALGORITHMS)) as pool:
        servers = list(pool.map(lambda name: start(folder / name, name), ALGORITHMS))
    issued = {}
    for algorithm, server in zip(ALGORITHMS, servers, strict=True):
        with server.client() as client:
            issued[algorithm] = Issued(algorithm, server, client.newcomer())
    return issued


def expired(server: Server) -> str:
    """A token of a service whose tokens live one second, when that is over."""
    with server.client() as client:
        token = client.newcomer()
    time.sleep(max(0.0, claims(token)["exp"] - time.time() + 0.1))
    return token
