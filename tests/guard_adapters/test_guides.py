"""The snippet of each guide is run as it stands, on a real server; only the service's address is another."""

from __future__ import annotations

import contextlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.e2e.client import bearer
from tests.e2e.fixtures import server
from tests.e2e.server import Server
from tests.guard.service import Service
from tests.guard_adapters.serving import (
    GUNICORN,
    ROOT,
    Answer,
    Api,
    as_process,
    on_aiohttp,
    on_uvicorn,
    on_werkzeug,
    on_wsgiref,
)
from tests.proxies.conftest import log_in

__all__ = ["server"]

GUIDES = ROOT / "docs" / "guides"
NAMES = ["fastapi", "starlette", "flask", "django", "litestar", "ninja", "quart", "aiohttp", "wsgi"]
SHOWN = "http://127.0.0.1:4000"
START = {
    "fastapi": ("main.py", "uvicorn main:app --port 8000"),
    "starlette": ("main.py", "uvicorn main:app --port 8000"),
    "flask": ("app.py", "flask run --port 8000"),
    "django": ("site_one.py", "gunicorn site_one:application"),
    "litestar": ("main.py", "uvicorn main:app --port 8000"),
    "ninja": ("site_one.py", "gunicorn site_one:application"),
    "quart": ("main.py", "hypercorn main:app --bind 127.0.0.1:8000"),
    "aiohttp": ("main.py", "python main.py"),
    "wsgi": ("main.py", "gunicorn main:app"),
}
SERVERS = {"flask": on_werkzeug, "wsgi": on_wsgiref, "aiohttp": on_aiohttp}
"""Others are ASGI applications, or sites of Django."""


def guide(name: str) -> str:
    return (GUIDES / f"protect-{name}.md").read_text("utf-8")


def snippet(name: str) -> str:
    found = re.findall(r"```python\n(.*?)```", guide(name), re.DOTALL)
    assert len(found) == 1, "a guide has one runnable snippet"
    return str(found[0])


def placed(code: str, issuer: str) -> str:
    """The code with another service's address, which stands in it once."""
    assert code.count(SHOWN) == 1
    return code.replace(SHOWN, issuer)


@contextlib.contextmanager
def running(name: str, folder: Path, *, issuer: str) -> Iterator[Api]:
    code = placed(snippet(name), issuer)
    if name in {"django", "ninja"}:
        with django_site(code, folder) as api:
            yield api
        return
    sys.modules[f"guide_{name}"] = module = ModuleType(f"guide_{name}")  # Litestar looks up where a handler is from
    exec(compile(code, f"protect-{name}.md", "exec", dont_inherit=True), vars(module))
    with SERVERS.get(name, on_uvicorn)(module.app) as api:
        yield api
    guard = getattr(module, "guard", None) or module.auth.guard
    guard.stop()
    del sys.modules[module.__name__]


@contextlib.contextmanager
def django_site(code: str, folder: Path) -> Iterator[Api]:
    (folder / "site_one.py").write_text(code, "utf-8")
    command = (*GUNICORN, "--pythonpath", str(folder), "site_one:application")
    with as_process(folder, *command, issuer="", audience="") as api:  # the code says it
        yield api


@pytest.mark.parametrize("name", NAMES)
def test_the_snippet(name: str, issuer: Service, tmp_path: Path) -> None:
    admin = ("/admin/orders/7", "DELETE") if name == "fastapi" else ("/admin/stock", "GET")

    def ask(api: Api, path: str, method: str = "GET", **token: object) -> tuple[int, str | None, bytes]:
        given = {"user_id": "ada", "audience": issuer.url} | token
        headers = [("Authorization", f"Bearer {issuer.token(**given)}")] if token else []
        answer = api.ask(path, headers, method)
        return answer.status, answer.code, answer.body.replace(b" ", b"").strip()

    with running(name, tmp_path, issuer=issuer.url) as api:
        assert ask(api, "/orders")[:2] == (401, "token_missing")
        assert ask(api, "/orders", audience="another API")[:2] == (401, "token_invalid")
        assert ask(api, "/orders", roles=[]) == (200, None, b'{"message":"Welcome,stranger","ordersof":"ada"}')
        named = ask(api, "/orders", claims={"name": "Ada"})
        assert named == (200, None, b'{"message":"Welcome,Ada","ordersof":"ada"}')
        assert ask(api, "/prices") == (200, None, b'{"discount":false}')
        assert ask(api, "/prices", roles=[]) == (200, None, b'{"discount":true}')
        assert ask(api, *admin)[:2] == (401, "token_missing")
        assert ask(api, *admin, roles=["clerk"])[:2] == (403, "role_missing")
        assert ask(api, *admin, roles=["admin"])[0] == 200


@pytest.mark.parametrize("name", NAMES)
def test_the_snippet_with_the_service(name: str, server: Server, tmp_path: Path) -> None:
    """The tokens that the service itself gives open each route, and greet by name: a log-in the first, the role the one
    for admins."""
    admin = ("/admin/orders/7", "DELETE") if name == "fastapi" else ("/admin/stock", "GET")
    user, boss = log_in(server, called="Ada"), log_in(server, role="admin", called="Ada")
    with running(name, tmp_path, issuer=server.url) as api:
        for person, status in ((user, 403), (boss, 200)):
            headers = list(bearer(person.token).items())
            answer = api.ask("/orders", headers)
            assert (answer.status, json.loads(answer.body)) == (
                200,
                {"message": "Welcome, Ada", "orders of": person.user_id},
            )
            assert api.ask(admin[0], headers, admin[1]).status == status


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_says_how_to_start_it(name: str) -> None:
    """What file it is, and a command that finds the application in a file of that name."""
    file, command = START[name]
    assert f"Save it as `{file}`, run `{command}`" in guide(name)
    program = command.split()[0]
    assert program == "python" or program in re.findall(r"`pip install ([^`]+)`", guide(name))[0].split()
    if ":" in command:
        module, application = command.split()[1].split(":")
        assert file == f"{module}.py"
        assert re.search(rf"^{application} = ", snippet(name), re.MULTILINE)


def test_rest_framework_as_printed(issuer: Service, tmp_path: Path) -> None:
    """The section's settings and views in the guide's one-file site, where django.contrib.auth is not installed."""
    section = guide("django").partition("\n## REST framework\n")[2]
    settings, views = re.findall(r"```\n(.*?)```", section, re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(settings, "protect-django.md", "exec"), names)
    code = placed(snippet("django"), issuer.url)
    first, last = "settings.configure(\n", "application = get_wsgi_application()\n"
    assert code.count(first) == code.count(last) == 1
    code = code.replace(first, f"{first}    REST_FRAMEWORK={names['REST_FRAMEWORK']!r},\n")
    with django_site(code.replace(last, f"{views}{last}"), tmp_path) as api:
        for accept in ("*/*", "text/html"):
            assert api.ask("/orders", [("Accept", accept)]).code == "token_missing"

        def ask(path: str, **token: object) -> Answer:
            return api.ask(
                path, [("Authorization", f"Bearer {issuer.token(user_id='ada', audience=issuer.url, **token)}")]
            )

        assert (ask("/orders").status, json.loads(ask("/orders").body)) == (200, {"orders of": "ada"})
        assert ask("/admin/stock").code == "role_missing"
        assert ask("/admin/stock", roles=["admin"]).status == 200


def test_the_snippet_for_functions(issuer: Service) -> None:
    """As a host of functions calls it; it leaves no thread."""
    (code,) = re.findall(r"```python\n(.*?)```", (GUIDES / "functions.md").read_text("utf-8"), re.DOTALL)
    module = ModuleType("functions")
    before = threading.active_count()
    exec(compile(placed(code, issuer.url), "functions.md", "exec", dont_inherit=True), vars(module))

    def call(**headers: str) -> tuple[int, dict[str, str]]:
        answer = module.handler({"headers": headers}, None)
        return answer["statusCode"], json.loads(answer["body"])

    token = issuer.token(user_id="ada", audience=issuer.url, claims={"name": "Ada"})
    assert call(Authorization=f"Bearer {token}") == (200, {"message": "Welcome, Ada"})
    status, problem = call()
    assert (status, problem["code"]) == (401, "token_missing")
    assert threading.active_count() <= before + 1  # the issuer's own answers in a thread


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", guide(name)):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        there = GUIDES / path
        assert there.exists(), target
        titles = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
        assert not heading or heading in {title.lower().replace(" ", "-").replace(",", "") for title in titles}, target


def test_the_snippet_of_the_readme(issuer: Service) -> None:
    """Runs as it stands, but for the address: what the first page promises about three lines."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    module = ModuleType("readme")
    exec(compile(placed(code, issuer.url), "README.md", "exec", dont_inherit=True), vars(module))
    with on_uvicorn(module.app) as api:
        assert (api.ask("/posts").status, api.ask("/posts").code) == (401, "token_missing")
        answer = api.ask("/posts", [("Authorization", f"Bearer {issuer.token(user_id='ada', audience=issuer.url)}")])
        assert (answer.status, json.loads(answer.body)) == (200, ["a post for ada"])


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.stem)
def test_a_guard_beyond_loopback_has_its_key(path: Path) -> None:
    """Each example with an https address gives one: without it the guard would hear of no log-out."""
    text = path.read_text("utf-8")
    for call in re.findall(r'\bGuard\(\s*"https://(?:[^()]|\([^()]*\))*\)', text):
        assert "guard_key=os.environ[" in call, call
    for line in re.findall(r"\{[^{}]*\"issuer\": \"https://[^{}]*\}", text):
        assert '"guard_key": os.environ[' in line, line
