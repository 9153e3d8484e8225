"""Where a log-in leads: a path here or an allowed origin, and nowhere else (OWASP Unvalidated Redirects; CWE-601)."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.client import PASSWORD
from tests.features.api import served
from tests.pages.person import SENT_BY_US, Parsed
from watchword.pages.destination import Destination, destination

APP, OURS = "https://app.example.com", "http://127.0.0.1:4000"

EVIL = [
    "//evil.example", "///evil.example", "////evil.example", "/\\evil.example", "\\\\evil.example", "\\/evil.example",
    "/\t/evil.example", "/\n/evil.example", "\t//evil.example", " //evil.example", "/ /evil.example",
    "\x00//evil.example",
    "https://evil.example", "http:evil.example", "https:/evil.example", "https:evil.example", "HTTPS://evil.example",
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\tscript:alert(1)", "data:text/html,x", "vbscript:x", "blob:x",
    f"{APP}.evil.example", f"{APP}@evil.example", f"{APP}:443@evil.example/", f"{APP}:8443/", f"{APP}\\@evil.example",
    f"{APP}%2f@evil.example", f"{APP}%40evil.example", f"{APP};evil.example", f"{APP}evil.example",
    f"{APP}#@evil.example",
    f"{APP}?@evil.example", f"{APP}//evil.example", f"{APP}/\\evil.example",
    "https://user@app.example.com/", "https://user:pass@app.example.com/", "http://app.example.com/",
    "https://app.example.com.", "https://APP.example.com/", "https://аpp.example.com/", "https://app。example.com/",
    "evil.example", "account", "?next=x", "#x", "..//evil.example", "./evil.example",
    "/x\r\nSet-Cookie: a=b", "/x\r\n\r\n<script>", "/é", "/x y", '/"><script>', "/" + "a" * 3000, "",
]  # fmt: skip
GOOD = ["/", "/orders", "/orders/1?x=1&y=%2F%2Fevil.example#top", "/%2f%2fevil.example", "/@evil.example", "/.//x",
        "/https://evil.example", "/:80", APP, f"{APP}/", f"{APP}/orders?x=1#y"]  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_F9_what_leads_elsewhere_is_no_destination(text: str) -> None:
    """Refused as text, before any reader of URLs can differ from a browser."""
    assert destination(text, (APP,)) is None


@pytest.mark.parametrize("text", GOOD)
def test_what_leads_to_us_or_to_an_allowed_origin(text: str) -> None:
    """As it stands, and to these two origins only."""
    found = destination(text, (APP,))
    assert found == Destination(text, APP if text.startswith(APP) else "")


@given(st.text(alphabet="/\\:@?#.%&=; \t\r\n\x00htpsjavcri2fe5C\u3002", max_size=30))
def test_F9_whatever_is_accepted_stays_here(text: str) -> None:
    """Whatever is put together of the characters that such attacks are made of."""
    for start in ("", "/", APP):
        found = destination(start + text, (APP,))
        if found is not None:
            parts = urlsplit(urljoin(OURS, found.location))
            assert f"{parts.scheme}://{parts.netloc}" in (OURS, APP)
            assert "\\" not in found.location
            assert found.location.isprintable()


async def test_F9_the_log_in_leads_there_and_nowhere_else(tmp_path: Path) -> None:
    """By the form, and at once where there is a session already; the page names the one origin it may lead to."""
    async with served(tmp_path, allowed_origins=APP) as api:
        await api.register("ada")
        log_in = {"username": "ada", "password": PASSWORD}
        for text in EVIL:
            if "\x00" in text:
                continue  # not a form at all
            answer = await api.post("/account/login", data={**log_in, "next": text}, headers=SENT_BY_US)
            assert (answer.status_code, answer.headers.get("location")) == (303, "../account"), text
            again = await api.get("/account/login", params={"next": text})
            assert again.headers["location"] == "../account", text
        for text in GOOD:
            answer = await api.post("/account/login", data={**log_in, "next": text}, headers=SENT_BY_US)
            assert answer.headers["location"] == text
            assert (await api.get("/account/login", params={"next": text})).headers["location"] == text
        stranger = api.elsewhere()
        for text, more in ((f"{APP}/orders", f" {APP}"), ("/orders", ""), ("//evil.example", "")):
            page = await stranger.get("/account/login", params={"next": text})
            assert f"form-action 'self'{more};" in page.headers["content-security-policy"]
            (sent,) = [each.fields["next"] for each in Parsed(page.text).forms]
            assert sent == ("" if "evil" in text else text)
