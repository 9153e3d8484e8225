"""The snippet of each guide is run as it stands, on a real server; only the issuer's address is another."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.guard.service import Service
from tests.guard_adapters.serving import GUNICORN, ROOT, Api, as_process, on_uvicorn, on_werkzeug

GUIDES = ROOT / "docs" / "guides"
NAMES = ["fastapi", "starlette", "flask", "django", "litestar"]


def snippet(name: str) -> str:
    found = re.findall(r"```python\n(.*?)```", (GUIDES / f"protect-{name}.md").read_text("utf-8"), re.DOTALL)
    assert len(found) == 1, "a guide has one runnable snippet"
    return str(found[0])


@contextlib.contextmanager
def running(name: str, issuer: Service, folder: Path) -> Iterator[Api]:
    code = snippet(name)
    assert code.count("https://auth.example") == 1
    code = code.replace("https://auth.example", issuer.url)
    if name == "django":
        (folder / "guide_site.py").write_text(code, "utf-8")
        command = (*GUNICORN, "--pythonpath", str(folder), "guide_site:application")
        with as_process(folder, *command, issuer=issuer.url, audience="orders") as api:
            yield api
        return
    sys.modules[f"guide_{name}"] = module = ModuleType(f"guide_{name}")  # Litestar looks up where a handler is from
    exec(compile(code, f"protect-{name}.md", "exec", dont_inherit=True), vars(module))
    with (on_werkzeug if name == "flask" else on_uvicorn)(module.app) as api:
        yield api
    guard = getattr(module, "guard", None) or module.auth.guard
    guard.stop()
    del sys.modules[module.__name__]


@pytest.mark.parametrize("name", NAMES)
def test_the_snippet(name: str, issuer: Service, tmp_path: Path) -> None:
    admin = ("/admin/orders/7", "DELETE") if name == "fastapi" else ("/admin/stock", "GET")

    def ask(api: Api, path: str, method: str = "GET", **token: object) -> tuple[int, str | None, bytes]:
        headers = [("Authorization", f"Bearer {issuer.token(user_id='ada', **token)}")] if token else []
        answer = api.ask(path, headers, method)
        return answer.status, answer.code, answer.body.replace(b" ", b"").strip()

    with running(name, issuer, tmp_path) as api:
        assert ask(api, "/orders")[:2] == (401, "token_missing")
        assert ask(api, "/orders", roles=[])[:2] == (403, "scope_missing")
        assert ask(api, "/orders", scopes=["orders:read"]) == (200, None, b'{"ordersof":"ada"}')
        assert ask(api, "/prices") == (200, None, b'{"discount":false}')
        assert ask(api, "/prices", roles=[]) == (200, None, b'{"discount":true}')
        assert ask(api, *admin)[:2] == (401, "token_missing")
        assert ask(api, *admin, roles=["clerk"])[:2] == (403, "role_missing")
        assert ask(api, *admin, roles=["admin"])[0] == 200


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_somewhere(name: str) -> None:
    text = (GUIDES / f"protect-{name}.md").read_text("utf-8")
    for target in re.findall(r"\]\(([^)]+)\)", text):
        path, _, heading = target.partition("#")
        there = GUIDES / path
        assert there.exists(), target
        titles = re.findall(r"^#+ (.*)$", there.read_text("utf-8"), re.MULTILINE)
        assert not heading or heading in {title.lower().replace(" ", "-").replace(",", "") for title in titles}, target


def test_the_snippet_of_the_readme(issuer: Service) -> None:
    """Runs as it stands, but for the address: what the first page promises about three lines."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    here = 'Guard("http://127.0.0.1:4000", audience="http://127.0.0.1:4000")'
    assert code.count(here) == 1
    module = ModuleType("readme")
    code = code.replace(here, f'Guard("{issuer.url}", audience="orders")')
    exec(compile(code, "README.md", "exec", dont_inherit=True), vars(module))
    with on_uvicorn(module.app) as api:
        assert (api.ask("/posts").status, api.ask("/posts").code) == (401, "token_missing")
        answer = api.ask("/posts", [("Authorization", f"Bearer {issuer.token(user_id='ada')}")])
        assert (answer.status, json.loads(answer.body)) == (200, ["a post for ada"])
