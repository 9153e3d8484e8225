"""`GET /` for people and for programs."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from tests.web.asking import PUBLIC_URL, Asker, dispatcher
from watchword import __version__
from watchword.web.accepting import prefers_page
from watchword.web.front_page import feature

BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


def asker(public_url: str = PUBLIC_URL, *, prefix: str = "", docs: bool = True) -> Asker:
    routes = feature(public_url, prefix=prefix, docs=docs, pages=False).routes
    return dispatcher(*routes, prefix=prefix, public_url=public_url)


class Reader(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if tag == "a" and name == "href"]
        assert not [name for name, _ in attrs if name.startswith("on") or name == "style"]


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        ("", False),
        ("*/*", False),  # curl
        (BROWSER, True),
        ("text/html", True),
        ("TEXT/HTML", True),
        ("text/*", True),
        ("application/json", False),
        ("application/json, text/plain, */*", False),
        ("text/html;q=0.5, application/json", False),
        ("text/html, application/json;q=0.9", True),
        ("text/html;level=1;q=0.9, */*;q=0.1", True),
        ("text/html, application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=nan", False),
        ("text/html;q=1_0", False),
        ("text/html;q=", False),
        (";;,,q=1", False),
        ("text/html\xff", False),
    ],
)
def test_who_gets_the_page(accept: str, page: bool) -> None:
    """Who ranks it first; JSON for everyone else, whatever they send."""
    assert prefers_page(accept.encode("latin-1")) is page


def test_people_get_a_page() -> None:
    """With the version and links, in the style and under the policy of the problem pages."""
    answer = asker()("GET", "/", [("accept", BROWSER)])
    assert (answer.status, answer["content-type"]) == (200, "text/html; charset=utf-8")
    assert (answer["cache-control"], answer["x-content-type-options"]) == ("no-store", "nosniff")
    assert answer["strict-transport-security"]
    policy = answer["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert not {"script", "form"} & set(Reader(answer.body.decode()).tags)
    assert f"Watchword {__version__} " in answer.body.decode()
    assert [link.removeprefix(PUBLIC_URL) for link in Reader(answer.body.decode()).links] == [
        "/docs",
        "/openapi.json",
        "/healthz",
        "/problems",
        "/.well-known/openid-configuration",
    ]


def test_programs_get_json() -> None:
    """The same, and the issuer."""
    answer = asker()("GET", "/")
    assert (answer.status, answer["content-type"]) == (200, "application/json")
    assert answer.json == {
        "name": "Watchword",
        "issuer": PUBLIC_URL,
        "metadata": f"{PUBLIC_URL}/.well-known/openid-configuration",
        "health": f"{PUBLIC_URL}/healthz",
        "problems": f"{PUBLIC_URL}/problems",
        "version": __version__,
        "docs": f"{PUBLIC_URL}/docs",
        "openapi": f"{PUBLIC_URL}/openapi.json",
    }


@pytest.mark.parametrize("accept", ["*/*", BROWSER])
def test_without_documentation_the_version_is_not_told(accept: str) -> None:
    """And nothing leads where nothing is."""
    shown = asker(docs=False)("GET", "/", [("accept", accept)]).body.decode()
    assert __version__ not in shown
    assert "/docs" not in shown
    assert "openapi.json" not in shown
    assert "/problems" in shown


def test_under_a_prefix_with_and_without_the_slash() -> None:
    """As people type it. Outside the prefix it is not ours to answer."""
    ask = asker("https://a.example/auth", prefix="/auth")
    for path in ("/auth/", "/auth"):
        assert ask("GET", path).json["docs"] == "https://a.example/auth/docs"
    assert ask("GET", "/").status == 404
