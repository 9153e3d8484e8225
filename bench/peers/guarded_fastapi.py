# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""FastAPI in the environment of the peers: a bare route, ours, PyJWT by hand, and fastapi-users' `current_user`.

Each peer signs its own tokens (`/token/pyjwt`, `/token/users`), HS256; ours come from the service at ISSUER, ES256.
"""

from __future__ import annotations

import os
import secrets
import time
import uuid
from dataclasses import dataclass, field
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse
from fastapi.security import OAuth2PasswordBearer
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import BaseUserDatabase

from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard

SECRET = secrets.token_hex(32)
LIFE = 900
ISSUER = os.environ["ISSUER"]
guard = Guard(ISSUER)
auth = FastAPIGuard(guard)
app = FastAPI()


@app.get("/bare")
async def bare() -> dict[str, str]:
    """Nobody asks who it is."""
    return {"user_id": "00000000-0000-0000-0000-000000000000"}


@app.get("/ours")
async def ours(caller: Annotated[Caller, auth.required()]) -> dict[str, str]:
    """Ours."""
    return {"user_id": caller.user_id}


# PyJWT by hand, as FastAPI's own tutorial has it, without its look-up of the user.
oauth2 = OAuth2PasswordBearer(tokenUrl="token")


async def by_hand(token: Annotated[str, Depends(oauth2)]) -> str:
    """Whom a token is for."""
    try:
        claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"])
    except jwt.InvalidTokenError:
        raise HTTPException(401, "Could not validate credentials", {"WWW-Authenticate": "Bearer"}) from None
    return str(claims["sub"])


@app.get("/pyjwt")
async def pyjwt(user_id: Annotated[str, Depends(by_hand)]) -> dict[str, str]:
    """PyJWT's."""
    return {"user_id": user_id}


@app.get("/token/pyjwt")
async def token_of_pyjwt() -> PlainTextResponse:
    """Sign as the tutorial does."""
    claims = {"sub": str(uuid.uuid4()), "exp": int(time.time()) + LIFE}
    return PlainTextResponse(jwt.encode(claims, SECRET, algorithm="HS256"))


@dataclass
class User:
    """What fastapi-users wants of a user."""

    id: uuid.UUID = field(default_factory=uuid.uuid4)
    email: str = "bencher@example.org"
    hashed_password: str = ""
    is_active: bool = True
    is_superuser: bool = False
    is_verified: bool = True


class Users(BaseUserDatabase[User, uuid.UUID]):
    """Users in a dict: its look-up is a part of it, a database need not be."""

    def __init__(self) -> None:
        self.all: dict[uuid.UUID, User] = {}

    async def get(self, id: uuid.UUID) -> User | None:
        """Find one."""
        return self.all.get(id)


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """As it comes."""


users = Users()


async def manager() -> Manager:
    """Make one for a request."""
    return Manager(users)


def strategy() -> JWTStrategy[User, uuid.UUID]:
    """Make one for a request, as its documentation has it."""
    return JWTStrategy(secret=SECRET, lifetime_seconds=LIFE)


backend = AuthenticationBackend(name="jwt", transport=BearerTransport(tokenUrl="login"), get_strategy=strategy)
current_user = FastAPIUsers[User, uuid.UUID](manager, [backend]).current_user(active=True)


@app.get("/users")
async def of_users(user: Annotated[User, Depends(current_user)]) -> dict[str, str]:
    """The other's."""
    return {"user_id": str(user.id)}


@app.get("/token/users")
async def token_of_users() -> PlainTextResponse:
    """Sign for a new user."""
    user = User()
    users.all[user.id] = user
    return PlainTextResponse(await strategy().write_token(user))
