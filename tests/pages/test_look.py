"""Name, colours, languages and templates of an operator's own."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest
import structlog
from jinja2 import Environment

from tests.e2e.client import PASSWORD
from tests.features.api import Api, served
from tests.pages.person import SENT_BY_US, Person
from tests.pages.test_walks import logged_in
from watchword import Watchword, sandbox
from watchword.errors import Conflict, FieldError, InvalidInput, SettingsError
from watchword.identity.audit import LOCAL
from watchword.identity.granting import unchecked
from watchword.pages import sentences
from watchword.settings import Settings
from watchword.settings.colors import contrast
from watchword.web.pages.layout import Look
from watchword.web.pages.samples import PARTS, SAMPLES

GERMAN = {"Accept-Language": "de"}
TEMPLATES = Path(__file__).parents[2] / "src" / "watchword" / "web" / "pages" / "templates"


async def test_the_name_and_the_colours_are_settings(tmp_path: Path) -> None:
    """They stand in the title and in the style sheet; without a name it is the host's."""
    given = {"pages_name": "Acme & Sons", "pages_color": "#005F50", "pages_color_dark": "#7fe0c8"}
    async with served(tmp_path, **given) as api:
        assert "Acme &amp; Sons</title>" in (await api.get("/account/login")).text
        style = (await api.get("/pages.css")).text
        assert "--accent: #005f50;" in style
        assert "prefers-color-scheme: dark) { :root { --accent: #7fe0c8; }" in style
    async with served(tmp_path) as api:
        assert "127.0.0.1</title>" in (await api.get("/account/login")).text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pages_color", "#0b4f9"),
        ("pages_color", "navy"),
        ("pages_color", "#0b4f9e; } body { display: none"),
        ("pages_color", "#8ec1ff"),
        ("pages_color", "#777777"),
        ("pages_color_dark", "#0b4f9e"),
        ("pages_color_dark", "#161616"),
    ],
)
def test_a_colour_that_is_none_or_cannot_be_read_is_refused(name: str, text: str) -> None:
    """Nothing but six digits comes into the style sheet, and nothing that is too faint."""
    with pytest.raises(SettingsError, match=f"WATCHWORD_{name.upper()}"):
        Settings(**{name: text})


def test_contrast_is_that_of_wcag() -> None:
    """The ends of the scale, and the grey that is known to pass on white by a hair."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#ffffff", "#ffffff") == pytest.approx(1)
    assert contrast("#777777", "#ffffff") < 4.5 < contrast("#767676", "#ffffff")


async def test_an_operators_own_templates(tmp_path: Path) -> None:
    """A template, a style that comes last, and a language."""
    folder = tmp_path / "own"
    folder.mkdir()
    ours = (TEMPLATES / "layout.html").read_text("utf-8")
    (folder / "layout.html").write_text(ours.replace("<main>", '<p id="brand">{{ service }}</p><main>'))
    (folder / "pages.css").write_text("h1 { letter-spacing: 1px; }\n")
    (folder / "fr.po").write_text('msgid "Log in"\nmsgstr "Se connecter"\n', "utf-8")
    async with served(tmp_path / "data", pages_templates=folder, pages_name="Acme") as api:
        page = await api.get("/account/login", headers={"Accept-Language": "fr"})
        assert '<p id="brand">Acme</p>' in page.text
        assert "Se connecter" in page.text
        assert (await api.get("/pages.css")).text.endswith("h1 { letter-spacing: 1px; }\n")
        assert '<p id="brand">Acme</p>' in (await api.get("/links/x")).text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("log_in.html", "{{ unknown }}"),
        ("log_in.html", "{% if %}"),
        ("log_in.html", "{{ 1 // 0 }}"),
        ("account.html", "{{ user.__class__.__mro__ }}"),
        ("account.html", "{% if note %}{{ unknown }}{% endif %}"),
        ("close.html", "{% if not faults %}{{ unknown }}{% endif %}"),
        ("register.html", "{{ typed.username | safe }}"),
        ("register.html", "{% autoescape false %}{{ typed.username }}{% endautoescape %}"),
        ("register.html", "{%- include 'part.html' %}"),
        ("form.html", "{% macro field() %}{% endmacro %}{% macro summary(f) %}{% endmacro %}"),
        ("fr.po", "msgid nothing"),
    ],
)
async def test_a_template_that_fails_stops_the_start(tmp_path: Path, name: str, text: str) -> None:
    """In whatever page it would have failed; a template reaches no object of ours."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / name).write_text(text)
    with pytest.raises(SettingsError, match="WATCHWORD_PAGES_TEMPLATES"):
        async with served(tmp_path / "data", pages_templates=folder):
            pass


async def test_what_is_typed_is_no_sentence_and_is_escaped(tmp_path: Path) -> None:
    """⚑ Jinja takes what it translates for markup."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "register.html").write_text("{{ _(typed.username) }} {{ gettext(typed.username) }}")
    async with served(tmp_path / "data", pages_templates=folder) as api:
        data = {"username": "<script>", "password": PASSWORD}
        answer = await api.post("/account/register", data=data, headers=SENT_BY_US)
    assert answer.text.strip() == "&lt;script&gt; &lt;script&gt;"


def test_every_template_is_tried(tmp_path: Path) -> None:
    """What is shown to a template at the start is what there is; ours pass."""
    assert {path.name for path in TEMPLATES.glob("*.html")} - set(PARTS) == set(SAMPLES)
    Look(Settings(data_dir=tmp_path, pages_templates=TEMPLATES)).check()


async def test_a_template_that_fails_later_is_no_fault_of_the_page(tmp_path: Path) -> None:
    """⚑ With a value that no example has: the page is shown by our template, and the log names the operator's."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "register.html").write_text("{% if typed.username == 'a b' %}{{ unknown }}{% endif %}mine")
    with structlog.testing.capture_logs() as lines:
        async with served(tmp_path / "data", pages_templates=folder) as api:
            assert (await api.get("/account/register")).text == "mine"
            data = {"username": "a b", "password": PASSWORD}
            answer = await api.post("/account/register", data=data, headers=SENT_BY_US)
    assert (answer.status_code, "Make an account" in answer.text) == (422, True)
    told = [line for line in lines if line["event"] == "page_template_failed"]
    assert [line["template"] for line in told] == ["register.html"]


async def test_templates_are_compiled_beside_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ Before anyone asks for a page, each file once for all languages; the first page kept every request waiting."""
    compiled: list[tuple[str, threading.Thread]] = []
    ours = {str(path) for path in TEMPLATES.iterdir()}
    done, compiling = threading.Event(), Environment.compile

    def noting(self: Environment, source: Any, name: Any, filename: Any, *more: Any) -> Any:
        code = compiling(self, source, name, filename, *more)
        if filename in ours:
            compiled.append((filename, threading.current_thread()))
            if {path for path, _ in compiled} == ours:
                done.set()
        return code

    monkeypatch.setattr(Environment, "compile", noting)
    monkeypatch.setattr(sandbox, "_COMPILED", {each: sandbox._Compiled() for each in (True, False)})
    auth = Watchword(Settings(data_dir=tmp_path))
    async with auth.lifespan():
        assert await asyncio.to_thread(done.wait, 60)
        transport = httpx2.ASGITransport(app=auth, client=("127.0.0.1", 50_000))
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:4000") as client:
            for language in ("en", "de"):
                page = await client.get("/account/login", headers={"Accept-Language": language})
                assert page.status_code == 200
    assert len(compiled) == len(ours)
    assert threading.main_thread() not in {thread for _, thread in compiled}


async def test_without_pages_no_start_compiles_any(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of links in mails are read with the first one."""
    monkeypatch.setattr(Look, "_load", lambda _: pytest.fail("loaded"))
    async with Watchword(Settings(data_dir=tmp_path, pages=False)).lifespan():
        await asyncio.sleep(0)


async def test_everything_is_said_in_german(api: Api) -> None:
    """The page, what was wrong with each field, and a refusal."""
    api.headers.update(GERMAN)
    person = Person(api)
    page = await person.open("/account/login")
    assert '<html lang="de">' in page.text
    wrong = await person.send("account/login", username="ada", password="x")
    assert "Benutzername, E-Mail-Adresse oder Passwort ist falsch." in wrong.text
    await person.open("/account/register")
    wrong = await person.send("account/register", username="a b", email="a@b@c", password="x")
    for said in ("hat mindestens 8 Zeichen", "hat nur Buchstaben", "Das ist keine E-Mail-Adresse."):
        assert said in wrong.text
    refused = await api.post("/account/login", data={}, headers={**GERMAN, "Sec-Fetch-Site": "cross-site"})
    assert "Dieses Formular kommt nicht von hier" in refused.text


async def test_the_kernels_errors_are_the_listed_sentences(api: Api) -> None:
    """Each sentence that is translated is one that the kernel says; it would stay English if it changed there."""
    users, said = api.kernel.users, {sentences.NO_ADDRESS}
    await users.create(username="ada", email="ada@example.org", password=PASSWORD, client=LOCAL, check=unchecked)
    for username, email, password in (
        *((name, None, PASSWORD) for name in ("ada", "a b", "aа", "x" * 65, "admin", "root")),
        *((None, address, PASSWORD) for address in ("ada@example.org", "a@b@c")),
        *(("bob", None, word) for word in ("short", "x" * 1025, "password1", "bob-bob-bob-1")),
        (None, None, PASSWORD),
    ):
        try:
            await users.create(username=username, email=email, password=password, client=LOCAL, check=unchecked)
        except InvalidInput as error:
            said |= {sentences.sentence(each) for each in error.errors}
        except Conflict as error:
            said.add(error.message)
    known = {*sentences.ERRORS, sentences.NO_ADDRESS}
    assert said <= known, said - known
    assert len(said) >= 10
    assert sentences.sentence(FieldError("email", "email", "This is not an e-mail address: no")) in known


async def test_limits_are_told_in_minutes(tmp_path: Path) -> None:
    """With the headers that a program reads."""
    async with served(tmp_path, login_limit="1/10m") as api:
        for status in (401, 429):
            answer = await api.post("/account/login", data={"username": "ada", "password": "x"}, headers=SENT_BY_US)
            assert answer.status_code == status
        assert "Minutes to wait: 10" in answer.text
        assert answer.headers["retry-after"] == "600"


@pytest.mark.parametrize("body", ["username=%zz", "a=%ff", "a&" * 30, "a=1&a=2"])
async def test_a_form_that_is_none_is_refused_with_a_page(api: Api, body: str) -> None:
    """Also where the refusal holds a percent sign, which templates could take for theirs."""
    headers = {**SENT_BY_US, "Content-Type": "application/x-www-form-urlencoded"}
    answer = await api.post("/account/login", content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (400, "text/html; charset=utf-8")
    assert "Something went wrong" in answer.text


async def test_a_fault_of_ours_is_a_page_that_tells_nothing(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen one, and a database that is away."""
    await logged_in(api)

    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("SELECT secret")

    monkeypatch.setattr(type(api.kernel.sessions), "held", fails)
    api.event_hooks = {"response": []}
    answer = await api.get("/account")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "text/html; charset=utf-8")
    assert "SELECT" not in answer.text
