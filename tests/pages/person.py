"""A person at the pages: opens them, fills in their forms and sends them as a browser without JavaScript does."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin

import httpx2

SENT_BY_US = {"Origin": "null", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "navigate"}
"""As browsers send the form of a page that sends no referrer."""


@dataclass
class Form:
    """One form of a page."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Parsed(HTMLParser):
    """The forms, links and words of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser."""
        given = {name: value or "" for name, value in attrs}
        self.tags.append((tag, given))
        if tag == "form":
            self.forms.append(Form(given.get("action", "")))
        elif tag == "input" and self.forms:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        elif tag == "a":
            self.links.append(given["href"])


class Person:
    """Someone with a browser."""

    def __init__(self, api: httpx2.AsyncClient) -> None:
        self.api = api
        self.answer: httpx2.Response

    @property
    def page(self) -> Parsed:
        """The page that is open."""
        return Parsed(self.answer.text)

    @property
    def path(self) -> str:
        """Where the browser is."""
        return self.answer.request.url.path

    async def open(self, path: str) -> httpx2.Response:
        """Open a page, and follow where it leads."""
        return await self._arrive(await self.api.get(path))

    async def send(self, action: str, **filled: str) -> httpx2.Response:
        """Fill in the form of this page that goes there, send it, and follow."""
        form = next(each for each in self.page.forms if each.action.endswith(action))
        where = urljoin(str(self.answer.request.url), form.action)
        assert not (set(filled) - set(form.fields)), f"no such fields: {filled}"
        return await self._arrive(await self.api.post(where, data={**form.fields, **filled}, headers=SENT_BY_US))

    async def _arrive(self, answer: httpx2.Response) -> httpx2.Response:
        hops = 0
        while answer.status_code in (303, 308) and answer.headers["location"].startswith((".", "/", "account", "?")):
            answer = await self.api.get(urljoin(str(answer.request.url), answer.headers["location"]))
            hops += 1
            assert hops < 5
        self.answer = answer
        return answer
