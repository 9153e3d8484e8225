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
}
SETTINGS = "from django.conf import settings; settings.configure()\n"


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("name", BRINGS)
def test_an_adapter_imports_its_framework_only(name: str) -> None:
    begin = SETTINGS if name in {"django", "drf"} else ""
    loaded = run(f"{begin}import sys, watchword.guard.{name}\nprint(*sys.modules)").split()
    assert {module for module in loaded if module in FRAMEWORKS | SERVERS} <= BRINGS[name]


COST = """
import time, fastapi
from fastapi import security
began = time.process_time()
import watchword.guard.fastapi
print(time.process_time() - began)
"""


def test_the_FastAPI_adapter_costs_at_most_60_ms_beyond_FastAPI() -> None:
    """Of processor time, and the best of several, for the machine may be busy."""
    assert min(float(run(COST)) for _ in range(5)) < 0.060
