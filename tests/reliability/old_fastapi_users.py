# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""A FastAPI application of before, with fastapi-users: makes two users, logs one in over HTTP, prints its tokens.

Run as a script with the URL of its database and its secret, in the environment of `old_environment`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from collections.abc import AsyncGenerator
from typing import Annotated, Any

import httpx2
from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET, PASSWORD = sys.argv[2], "plum-orbit-canvas"
ADA, BERT = "ada+old@example.com", "bert@example.com"
engine = create_async_engine(sys.argv[1])
sessions = async_sessionmaker(engine, expire_on_commit=False)
mailed: dict[str, str] = {}


class Base(DeclarativeBase): ...


class User(SQLAlchemyBaseUserTableUUID, Base): ...


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    reset_password_token_secret = SECRET
    verification_token_secret = SECRET

    async def on_after_forgot_password(self, user: User, token: str, request: Any = None) -> None:
        mailed["reset"] = token

    async def on_after_request_verify(self, user: User, token: str, request: Any = None) -> None:
        mailed["verify"] = token


async def manager() -> AsyncGenerator[Manager, None]:
    async with sessions() as opened:
        yield Manager(SQLAlchemyUserDatabase(opened, User))


def strategy() -> JWTStrategy[User, uuid.UUID]:
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


backend = AuthenticationBackend(name="jwt", transport=BearerTransport(tokenUrl="login"), get_strategy=strategy)
made = FastAPIUsers[User, uuid.UUID](manager, [backend])
app = FastAPI()
app.include_router(made.get_auth_router(backend))
app.include_router(made.get_register_router(schemas.BaseUser[uuid.UUID], schemas.BaseUserCreate))
app.include_router(made.get_reset_password_router())
app.include_router(made.get_verify_router(schemas.BaseUser[uuid.UUID]))


@app.get("/me")
async def me(user: Annotated[User, Depends(made.current_user(active=True))]) -> dict[str, str]:
    return {"id": str(user.id)}


async def bert_of_before() -> None:
    """Make a user whose hash is the bcrypt of older versions."""
    async with sessions() as opened:
        older = PasswordHelper(PasswordHash((BcryptHasher(),)))
        users = Manager(SQLAlchemyUserDatabase(opened, User), older)
        await users.create(schemas.BaseUserCreate(email=BERT, password=PASSWORD))


async def ada_of_today() -> dict[str, str]:
    """Register, confirm, log in, and ask for a mail to reset the password; make her a superuser."""
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://old") as client:
        await _post(client, "/register", json={"email": ADA, "password": PASSWORD})
        await _post(client, "/request-verify-token", json={"email": ADA})
        await _post(client, "/verify", json={"token": mailed["verify"]})
        await _post(client, "/forgot-password", json={"email": ADA})
        access = (await _post(client, "/login", data={"username": ADA, "password": PASSWORD})).json()["access_token"]
        seen = await client.get("/me", headers={"Authorization": f"Bearer {access}"})
    async with sessions() as opened:
        database = SQLAlchemyUserDatabase(opened, User)
        await database.update(await database.get_by_email(ADA), {"is_superuser": True})
    return {"access": access, "reset": mailed["reset"], "verify": mailed["verify"], "id": seen.json()["id"]}


async def _post(client: Any, path: str, **given: Any) -> Any:
    answer = await client.post(path, **given)
    answer.raise_for_status()
    return answer


async def main() -> dict[str, str]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    await bert_of_before()
    said = await ada_of_today()
    await engine.dispose()
    return said


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main())))
