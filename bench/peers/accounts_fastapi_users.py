# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""fastapi-users on SQLite through SQLAlchemy, as its documentation sets it up: registration, JWT log-in, current user.

HASH: `argon2id` (19 MiB, two passes, one lane) or `bcrypt` (cost 12). It has no refresh tokens.
"""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Depends, FastAPI
from fastapi_users import BaseUserManager, FastAPIUsers, UUIDIDMixin, schemas
from fastapi_users.authentication import AuthenticationBackend, BearerTransport, JWTStrategy
from fastapi_users.db import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users.password import PasswordHelper
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pwdlib.hashers.bcrypt import BcryptHasher
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase

SECRET = secrets.token_hex(32)
HASHERS = {
    "argon2id": lambda: Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),
    "bcrypt": lambda: BcryptHasher(rounds=12),
}
helper = PasswordHelper(PasswordHash((HASHERS[os.environ["HASH"]](),)))
engine = create_async_engine("sqlite+aiosqlite:///./accounts.db")
sessions = async_sessionmaker(engine, expire_on_commit=False)


@event.listens_for(engine.sync_engine, "connect")
def write_ahead(connection: Any, _: object) -> None:
    """Use SQLite's log, as the others do."""
    connection.execute("PRAGMA journal_mode = WAL")


class Base(DeclarativeBase):
    """The tables."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """As it comes."""


class UserRead(schemas.BaseUser[uuid.UUID]):
    """As it comes."""


class UserCreate(schemas.BaseUserCreate):
    """As it comes."""


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """As it comes."""

    reset_password_token_secret = SECRET
    verification_token_secret = SECRET


async def session() -> AsyncGenerator[AsyncSession, None]:
    """Open one for a request."""
    async with sessions() as opened:
        yield opened


async def users(opened: Annotated[AsyncSession, Depends(session)]) -> AsyncGenerator[Any, None]:
    """Make the database adapter of a request."""
    yield SQLAlchemyUserDatabase(opened, User)


async def manager(database: Annotated[Any, Depends(users)]) -> AsyncGenerator[Manager, None]:
    """Make the manager of a request."""
    yield Manager(database, helper)


def strategy() -> JWTStrategy[User, uuid.UUID]:
    """Make one for a request, as its documentation has it."""
    return JWTStrategy(secret=SECRET, lifetime_seconds=3600)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
    """Make the tables."""
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield


backend = AuthenticationBackend(name="jwt", transport=BearerTransport(tokenUrl="login"), get_strategy=strategy)
made = FastAPIUsers[User, uuid.UUID](manager, [backend])
app = FastAPI(lifespan=lifespan)
app.include_router(made.get_auth_router(backend))
app.include_router(made.get_register_router(UserRead, UserCreate))


@app.get("/profile")
async def profile(user: Annotated[User, Depends(made.current_user(active=True))]) -> dict[str, str]:
    """Answer with who it is, from the database."""
    return {"id": str(user.id), "email": user.email}
