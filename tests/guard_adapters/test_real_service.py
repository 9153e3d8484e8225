"""Against the service itself as a process: log in, ask an API behind each adapter, log out, be refused everywhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.e2e.client import Client, bearer
from tests.e2e.fixtures import server
from tests.e2e.server import Server
from tests.guard_adapters import apps
from tests.guard_adapters.serving import GUNICORN, Api, as_process, on_aiohttp, on_uvicorn, on_wsgiref
from watchword.guard import Guard

__all__ = ["server"]


@pytest.fixture(scope="module")
def real(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Api]]:
    guard = Guard(server.url)
    assert guard.wait_until_ready(10)
    where = {"issuer": server.url, "audience": server.url}
    with contextlib.ExitStack() as stack:
        running = {name: stack.enter_context(on_uvicorn(make(guard))) for name, make in apps.ASGI.items()}
        for name in ("flask_process", "django_wsgi"):
            command = (*GUNICORN, "--workers", "2", f"tests.guard_adapters.apps:{name}()")
            running[name] = stack.enter_context(as_process(tmp_path_factory.mktemp(name), *command, **where))
        running |= {name: Api(running["django_wsgi"].port, f"/{name}") for name in ("drf", "ninja")}
        running["aiohttp"] = stack.enter_context(on_aiohttp(apps.aiohttp(guard)))
        running["wsgi"] = stack.enter_context(on_wsgiref(apps.plain_wsgi(guard)))
        yield running
    guard.stop()


@pytest.mark.parametrize("how", ["log out", "log out everywhere"])
def test_from_the_log_in_to_the_log_out(how: str, server: Server, real: dict[str, Api]) -> None:
    """Within a second of the answer to the log-out no worker of any API accepts the token."""
    with Client(server.url) as client:
        person = client.register()
        token = client.log_in(person["username"])
        headers = list(bearer(token).items())
        for name, api in list(real.items()) * 4:
            assert api.ask("/needs", headers).user() == person["id"], name
            assert api.ask("/admin", headers).code == "role_missing"
        if how == "log out":
            assert client.post("/logout", headers=bearer(token)).status_code < 300
        else:
            change = {"current_password": "plum-orbit-canvas", "new_password": "another-orbit-canvas"}
            changed = client.post("/profile/password", json=change, headers=bearer(token))
            assert changed.status_code < 300, changed.text
    time.sleep(1)
    for name, api in list(real.items()) * 4:
        assert api.ask("/needs", headers).code == "token_revoked", name
