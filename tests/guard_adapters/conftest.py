"""Every adapter on a real server, guarding by one test issuer; all of them run as long as the folder's tests do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from tests.guard.service import Service, serving
from tests.guard_adapters import apps
from tests.guard_adapters.serving import GUNICORN, Api, as_process, on_aiohttp, on_uvicorn, on_werkzeug, on_wsgiref
from watchword.guard import Guard

ADAPTERS = [
    "asgi",
    "fastapi",
    "starlette",
    "litestar",
    "quart",
    "aiohttp",
    "wsgi",
    "flask",
    "flask-wsgiref",
    "flask-gunicorn",
    "django-gunicorn",
    "django-uvicorn",
    "drf-gunicorn",
    "drf-uvicorn",
    "ninja-gunicorn",
    "ninja-uvicorn",
    "channels-uvicorn",
]


@pytest.fixture(scope="session")
def issuer() -> Iterator[Service]:
    with serving() as running:
        yield running


@pytest.fixture(scope="session")
def guard(issuer: Service) -> Iterator[Guard]:
    made = issuer.guard()
    assert made.wait_until_ready(10)
    yield made
    made.stop()


@pytest.fixture(scope="session")
def apis(issuer: Service, guard: Guard, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Api]]:
    with contextlib.ExitStack() as stack:
        where = {"issuer": issuer.url, "audience": "orders"}

        def process(*command: str) -> Api:
            return stack.enter_context(as_process(tmp_path_factory.mktemp("api"), *command, **where))

        running = {name: stack.enter_context(on_uvicorn(make(guard))) for name, make in apps.ASGI.items()}
        running["aiohttp"] = stack.enter_context(on_aiohttp(apps.aiohttp(guard)))
        running["wsgi"] = stack.enter_context(on_wsgiref(apps.plain_wsgi(guard)))
        running["flask"] = stack.enter_context(on_werkzeug(apps.flask(guard)))
        running["flask-wsgiref"] = stack.enter_context(on_wsgiref(apps.flask(guard)))
        # Forked after the application was imported, two workers, threads in each.
        running["flask-gunicorn"] = process(
            *(*GUNICORN, "--preload", "--workers", "2", "--threads", "2", "tests.guard_adapters.apps:flask_process()")
        )
        running["django-gunicorn"] = process(*GUNICORN, "--threads", "2", "tests.guard_adapters.apps:django_wsgi()")
        for name in ("django", "channels"):
            running[f"{name}-uvicorn"] = process(
                *("uvicorn", "--factory", "--port", "{port}", "--log-level", "warning", "--lifespan", "off"),
                f"tests.guard_adapters.apps:{name}_asgi",
            )
        for server in ("gunicorn", "uvicorn"):
            for name in ("drf", "ninja"):
                running[f"{name}-{server}"] = Api(running[f"django-{server}"].port, f"/{name}")
        assert set(running) == set(ADAPTERS)
        yield running


@pytest.fixture(params=ADAPTERS)
def api(request: pytest.FixtureRequest, apis: dict[str, Api]) -> Api:
    """One adapter after the other."""
    return apis[request.param]
