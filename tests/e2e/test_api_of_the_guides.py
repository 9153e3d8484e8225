"""One API, made of what the guides tell to add to the one of FastAPI: scopes, service accounts, API keys."""

from __future__ import annotations

import re
from types import ModuleType

from tests.e2e.client import bearer
from tests.e2e.test_guides_in_order import DOCS, Reader, blocks, reader
from tests.e2e.test_transcript import SHOWN_AT
from tests.guard_adapters.serving import on_uvicorn

__all__ = ["reader"]

SCOPES, ACCOUNTS, KEYS = "guides/scopes.md", "guides/service-accounts.md", "features/api_keys.md"


def first(page: str) -> str:
    """The first block of Python on a page."""
    return str(re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)[0])


def test_what_the_api_answers(reader: Reader) -> None:
    """Each page's route, to whom the page says that it is for, and to another; nothing is missing in what is shown."""
    for page in (SCOPES, ACCOUNTS, KEYS):
        reader.types(blocks(page)[0])
    reader.log_in()
    ada, key = reader.variables["TOKEN"], reader.variables["KEY"]
    with reader.server.client() as client:
        other = client.newcomer()
        program = client.post(
            "/token",
            data={"grant_type": "client_credentials", "scope": "jobs:run"},
            auth=(reader.variables["CLIENT_ID"], reader.variables["CLIENT_SECRET"]),
        ).json()["access_token"]
    module = ModuleType("guides")
    code = "\n\n".join(map(first, ("guides/protect-fastapi.md", SCOPES, ACCOUNTS, KEYS)))
    exec(compile(code.replace(SHOWN_AT, reader.server.url), "main.py", "exec", dont_inherit=True), vars(module))
    expected = {
        ("POST", "/orders"): {ada: 200, other: 403, program: 403, key: 401},
        ("POST", "/jobs"): {ada: 403, other: 403, program: 200, key: 401},
        ("GET", "/report"): {ada: 200, other: 200, program: 403, key: 200},
    }
    with on_uvicorn(module.app) as api:
        for (method, path), answers in expected.items():
            found = [api.ask(path, list(bearer(token).items()), method).status for token in answers]
            assert found == list(answers.values()), path
