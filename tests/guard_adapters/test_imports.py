"""An adapter brings its framework and nothing else, and costs next to nothing beyond it."""

from __future__ import annotations

import subprocess
import sys

import pytest

FRAMEWORKS = {
    "fastapi",
    "starlette",
    "flask",
    "django",
    "rest_framework",
    "litestar",
    "werkzeug",
    "pydantic",
    "asgiref",
    "ninja",
    "quart",
    "aiohttp",
    "channels",
    "grpc",
}
SERVERS = {"uvicorn", "sqlite3", "asyncpg", "httptools", "structlog", "typer", "argon2"}
BRINGS = {
    "asgi": set(),
    "starlette": {"starlette"},
    "fastapi": {"fastapi", "starlette", "pydantic"},
    "flask": {"flask", "werkzeug", "asgiref"},
    "django": {"django", "asgiref", "sqlite3"},
    "drf": {"django", "asgiref", "rest_framework", "sqlite3"},
    "litestar": {"litestar", "pydantic"},
    "ninja": {"django", "asgiref", "ninja", "pydantic", "sqlite3"},
    "quart": {"quart", "flask", "werkzeug", "asgiref"},
    "aiohttp": {"aiohttp"},
    "wsgi": set(),
    "channels": {"django", "asgiref", "sqlite3"},
    "grpc": {"grpc"},
}
SETTINGS = "from django.conf import settings; settings.configure()\n"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", BRINGS)
def test_an_adapter_imports_its_framework_only(name: str) -> None:
    begin = SETTINGS if name in {"django", "drf", "ninja", "channels"} else ""
    loaded = run(f"{begin}import sys, watchword.guard.{name}\nprint(*sys.modules)").split()
    assert {module for module in loaded if module in FRAMEWORKS | SERVERS} <= BRINGS[name]


# FastAPI runs on asyncio, and imports it later than before on Python 3.13.
BEYOND_FASTAPI = """
import asyncio, sys, fastapi
from fastapi import security
before = set(sys.modules)
import watchword.guard.fastapi
print(*(set(sys.modules) - before))
"""


def test_the_FastAPI_adapter_brings_little_beyond_FastAPI() -> None:
    """Ourselves and what the guard depends on, and not many modules of it. (How long it takes: `make bench`.)"""
    brought = run(BEYOND_FASTAPI).split()
    packages = {module.partition(".")[0] for module in brought}
    assert packages - sys.stdlib_module_names <= {
        "watchword",
        "cryptography",
        "msgspec",
        "_cffi_backend",
        "_openssl",
        "bcrypt",
    }  # the last by cryptography
    assert not {module for module in brought if module.startswith(("watchword.storage", "watchword.identity"))}
    assert len(brought) < 150, len(brought)
