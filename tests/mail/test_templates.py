"""What mails say, in every language, also from templates of an operator's own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from watchword.errors import SettingsError
from watchword.languages import catalogues, choose, read_po
from watchword.mail import templates
from watchword.mail.templates import SAMPLES, Templates

SOURCE = Path(templates.__file__).with_name("templates")
_SAID = re.compile(r'_\("((?:[^"\\]|\\.)*)"')


def test_every_sentence_is_translated_and_no_other() -> None:
    """A sentence that changes in a template is missing from the catalogue, and found here."""
    pages = Path(templates.__file__).parents[1] / "web" / "pages"
    features, people = pages.parents[1] / "features", pages.parents[1] / "pages"
    files = [*SOURCE.iterdir(), *pages.rglob("*.html"), *pages.glob("*.py"), *features.glob("*/*.py")]
    files += people.glob("*.py")
    written = {text for path in files for text in _SAID.findall(path.read_text("utf-8"))}
    for language, catalogue in catalogues().items():
        assert language == "en" or set(catalogue) == written
    assert {"en", "de"} == set(catalogues())


def test_each_file_is_a_mail_and_each_mail_a_file() -> None:
    """Nothing is left over."""
    assert {path.stem for path in SOURCE.glob("*.txt")} == set(SAMPLES)


@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("name", sorted(SAMPLES))
def test_a_mail_is_complete(name: str, language: str) -> None:
    """A subject of one line, and the same words in text and HTML."""
    said = Templates().preview(name, language)
    assert said.language == language
    assert 5 < len(said.subject) < 80
    assert said.subject.isprintable()
    words = re.sub(r"<title>.*?</title>|<[^>]+>", " ", said.html, flags=re.DOTALL)
    assert " ".join(said.text.split()) == " ".join(words.replace("&#39;", "'").replace("&#34;", '"').split())
    assert "{{" not in said.text + said.html
    assert "%(" not in said.text


def test_H13_html_is_escaped_and_text_is_not() -> None:
    """What a client sent is text in both."""
    said = Templates().preview("new_device", "en", device='<img src=x> & "x"', address="192.0.2.1")
    assert '<img src=x> & "x"' in said.text
    assert "<img" not in said.html
    assert "&lt;img src=x&gt; &amp; &#34;x&#34;" in said.html


def test_H13_what_is_shown_is_no_template() -> None:
    """Braces in a value stay braces, in the translated sentences too."""
    for language in ("en", "de"):
        said = Templates().preview("new_device", language, device="{{ 7*7 }} %(service)s {% raw %}", address="x")
        assert "{{ 7*7 }} %(service)s {% raw %}" in said.text
        assert "{{ 7*7 }} %(service)s {% raw %}" in said.html


def test_what_is_missing_fails() -> None:
    """No mail goes out with a hole in it."""
    with pytest.raises(Exception, match="link"):
        Templates().render("reset_password", "en", {"service": "x", "code": "1"})


def test_an_operator_replaces_one_and_adds_a_language(tmp_path: Path) -> None:
    """The others stay as they are."""
    (tmp_path / "reset_password.txt").write_text('Acme: {{ _("Set a new password") }}\n\nGo to {{ link }}\n')
    (tmp_path / "password_changed.html").write_text("<h1>{{ subject }}</h1>")
    (tmp_path / "fr.po").write_text('msgid "Set a new password"\nmsgstr "Choisissez un nouveau mot de passe"\n')
    own = Templates(tmp_path)
    own.check()
    assert own.languages == ("de", "en", "fr")
    said = own.preview("reset_password", "fr-CH")
    assert said.subject == "Acme: Choisissez un nouveau mot de passe"
    assert "Go to https://" in said.html
    assert own.preview("password_changed").html == "<h1>Your password was changed</h1>"
    assert own.preview("login_code") == Templates().preview("login_code")


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ link.__init__.__globals__ }}",
        "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ self._TemplateReference__context }}",
        "{% include '/etc/passwd' %}",
        "{{ link.format_map }} {{ '{0.__class__}'.format(link) }}",
        "{{ missing }}",
        "{% if",
    ],
)
def test_H13_a_template_reaches_nothing_but_its_values(tmp_path: Path, template: str) -> None:
    """It is refused when the service starts, and not when a mail is due."""
    (tmp_path / "reset_password.txt").write_text(f"Subject\n\n{template}\n")
    own = Templates(tmp_path)
    with pytest.raises(SettingsError, match="reset_password"):
        own.check()


STOPS_ESCAPING = {
    "{{ device | safe }}": "leave safe out",
    "{{ [device] | map('safe') | join }}": "No filter named 'safe'",
    "{% filter safe %}{{ device }}{% endfilter %}": "No filter named 'safe'",
    "{% autoescape false %}{{ device }}{% endautoescape %}": "leave autoescape out",
    "{{ ngettext(device, device, 1) }}": "ngettext takes two sentences",
    "{{ [device] | map('_') | join }}": "No filter named '_'",
}


@pytest.mark.parametrize("kind", ["txt", "html"])
@pytest.mark.parametrize("template", STOPS_ESCAPING)
def test_H13_no_template_stops_escaping(tmp_path: Path, template: str, kind: str) -> None:
    """⚑ It is refused at the start, and the message says what, in which file and line."""
    (tmp_path / f"new_device.{kind}").write_text(f"Subject\n\n{template}\n")
    told = rf"new_device\.{kind}, line 3: .*{STOPS_ESCAPING[template]}"
    with pytest.raises(SettingsError, match=told):
        Templates(tmp_path).check()


def test_H13_what_an_html_part_includes_is_escaped(tmp_path: Path) -> None:
    """⚑ Also from a file that escapes nothing as a text; sentences have values by name, and are markup themselves."""
    (tmp_path / "part.txt").write_text("{{ device }}")
    own = '{% include "part.txt" %} {{ _("<i>%(at)s</i>", at=device) }} {% trans %}<b>{{ device }}</b>{% endtrans %}'
    (tmp_path / "new_device.html").write_text(own)
    said = Templates(tmp_path).preview("new_device", device="<script>")
    assert said.html.rstrip() == "&lt;script&gt; <i>&lt;script&gt;</i> <b>&lt;script&gt;</b>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ _(device) }}",
        '{{ _("" ~ device) }}',
        '{{ _("" "%(x)s" ~ device, x=1) }}',
        "{{ gettext(device) }}",
        "{% set t = _ %}{{ t(device) }}",
        "{% trans x=_(device) %}{{ x }}{% endtrans %}",
        "{{ [_][0](device) }}",
        '{% import "part.html" as part %}{{ part.t(device) }}',
    ],
)
def test_H13_a_value_in_place_of_a_sentence_is_escaped(tmp_path: Path, template: str) -> None:
    """⚑ Jinja takes what it translates for markup."""
    (tmp_path / "part.html").write_text("{% set t = _ %}")
    (tmp_path / "new_device.html").write_text(template)
    assert "&lt;script&gt;" in Templates(tmp_path).preview("new_device", device="<script>").html
    assert "<script>" not in Templates(tmp_path).preview("new_device", device="<script>").html


def test_a_template_that_fails_is_named_with_its_line(tmp_path: Path) -> None:
    """Whatever is wrong with it."""
    for text in ("{{ missing }}", "{% if", "{{ link.__class__ }}", "{{ 1 // 0 }}"):
        (tmp_path / "layout.html").write_text(f"one\ntwo\n{text}\n")
        with pytest.raises(SettingsError, match=r"layout\.html, line [34]: "):
            Templates(tmp_path).check()


@pytest.mark.parametrize("text", ['msgid "a"\nmsgstr nothing', 'msgid_plural "a"', '"alone"'])
def test_a_catalogue_that_cannot_be_read_is_refused(tmp_path: Path, text: str) -> None:
    """With its file and line."""
    (tmp_path / "fr.po").write_text(text)
    with pytest.raises(SettingsError, match=r"fr\.po: line"):
        Templates(tmp_path)


def test_what_a_catalogue_may_hold() -> None:
    """Comments, continued texts, escapes; an untranslated text stays English."""
    text = """# by hand
msgid ""
msgstr "Language: fr\\n"

#: x
msgid "a "
"\\"b\\""
msgstr "c\\n"
"d"

msgid "e"
msgstr ""
"""
    assert read_po(text) == {'a "b"': "c\nd"}


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("fr, de;q=0.2, en;q=0.1", "de"),
        ("de;q=0", "en"),
        ("DE", "de"),
        ("*", "en"),
        ("../../etc/passwd", "en"),
        ("de;q=nan", "en"),
        (";;;,,,=" * 100_000, "en"),
    ],
)
def test_the_language_that_a_client_asks_for(accepted: str, chosen: str) -> None:
    """RFC 9110 section 12.5.4; what cannot be read is English."""
    assert choose(accepted, ("en", "de")) == chosen
