"""What mails say: templates in English, translated by catalogues. A directory may replace each.

A template `name.txt` has the subject in its first line. The HTML is made from the text, by `layout.html`, so that
the two never differ; a `name.html` of the operator's own wins.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment

from watchword.errors import Fault, SettingsError
from watchword.languages import ENGLISH, catalogues, choose
from watchword.sandbox import environment, where

_OWN = Path(__file__).with_name("templates")

SAMPLES: Mapping[str, Mapping[str, str]] = {
    "confirm_address": {},
    "confirm_registration": {},
    "already_registered": {},
    "reset_password": {"before": "m…@e….net", "until": "2026-12-05 09:30 UTC"},
    "invitation": {},
    "confirm_change": {"before": "m…@e….net"},
    "login_code": {"before": "m…@e….net", "until": "2026-12-05 09:30 UTC"},
    "address_changed": {},
    "address_changed_for_you": {},
    "password_changed": {},
    "account_closed": {},
    "account_taken_back": {},
    "new_device": {"device": "Firefox on Linux", "address": "192.0.2.10"},
    "api_key_made": {"device": "Firefox on Linux", "address": "192.0.2.10"},
    "test": {},
    "session_stopped": {"device": "Firefox on Linux", "address": "192.0.2.10"},
}
"""Each mail, and an example of what only it shows."""

_ALL = {
    "service": "auth.example.com",
    "link": "https://auth.example.com/links/wwl_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "code": "123456",
    "at": "2026-11-28 09:30 UTC",
}


class Said(NamedTuple):
    """A rendered mail."""

    language: str
    subject: str
    text: str
    html: str


class Templates:
    """The templates, in every language.

    :param folder: the operator's: `*.txt`, `*.html` and `*.po`.
    :raises SettingsError: a file of the operator's cannot be used.
    """

    def __init__(self, folder: Path | None = None) -> None:
        try:
            self._catalogues = catalogues(*(() if folder is None else (folder,)))
        except (OSError, ValueError) as error:
            raise _unfit(str(error)) from error
        self._folders = (_OWN,) if folder is None else (folder, _OWN)
        self._environment = cache(self._made)

    @property
    def languages(self) -> tuple[str, ...]:
        """Return the languages that there are."""
        return tuple(sorted(self._catalogues))

    def check(self) -> None:
        """Render every mail in every language. Raises `SettingsError` for a template that fails."""
        for name in SAMPLES:
            for language in self.languages:
                self.preview(name, language)

    def preview(self, name: str, language: str = ENGLISH, **values: str) -> Said:
        """Render a mail with examples, but for these values.

        :raises KeyError: there is no such mail.
        :raises SettingsError: the operator's template fails.
        """
        values = {**_ALL, **SAMPLES[name], **values}
        try:
            return self.render(name, language, values)
        except Exception as error:  # a template may fail in any way, such as by dividing by zero
            raise _unfit(f"{name} in {language} cannot be rendered: {where(error, self._folders)}") from error

    def render(self, name: str, language: str, values: Mapping[str, str]) -> Said:
        """Render a mail.

        :param language: an `Accept-Language`; English where none of it is known.
        :param values: what it shows. What is missing fails, and nothing empty is sent.
        """
        chosen = choose(language, self._catalogues)
        raw = self._environment(chosen, escapes=False).get_template(f"{name}.txt").render(values)
        subject, _, text = raw.lstrip().partition("\n")
        text = text.strip() + "\n"
        html_of = self._environment(chosen, escapes=True)
        try:
            own = html_of.get_template(f"{name}.html")
        except TemplateNotFound:
            own = html_of.get_template("layout.html")
        paragraphs = [" ".join(each.split()) for each in text.split("\n\n")]
        html = own.render({**values, "subject": subject.strip(), "paragraphs": paragraphs, "language": chosen})
        return Said(chosen, subject.strip(), text, html)

    def _made(self, language: str, *, escapes: bool) -> ImmutableSandboxedEnvironment:
        """Make an environment of one language. A template of the operator's sees strings and no object of ours."""
        return environment(self._folders, self._catalogues[language], escapes=escapes)


def _unfit(message: str) -> SettingsError:
    hint = "`watchword mail preview NAME` shows one; docs/guides/mail.md says what each may show"
    return SettingsError((Fault("WATCHWORD_MAIL_TEMPLATES", message, hint),))
