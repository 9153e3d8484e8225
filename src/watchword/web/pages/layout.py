"""How every page looks: one template that the others extend, and one style sheet; nothing is inline.

A directory of the operator's may replace templates, add to the style and translate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import cache, cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchword.errors import Fault, SettingsError, WatchwordError
from watchword.languages import Catalogue, catalogues, choose
from watchword.languages import marked as _
from watchword.settings import Settings
from watchword.tally import Faults, Log
from watchword.web.accepting import prefers_page
from watchword.web.clients import client_language
from watchword.web.conditional import unless_known
from watchword.web.headers import public_for
from watchword.web.pages.samples import PARTS, SAMPLES, otherwise
from watchword.web.problems import problem_of
from watchword.web.route import Anyone, Call, Header, Reply, Route, Scope

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    _Made = Callable[[str], ImmutableSandboxedEnvironment]

_OURS: Final = 500
REFUSALS: Final = {
    "origin_refused": _("This form does not come from here"),
    "form_refused": _("This form is out of date"),
    "not_found": _("There is no such page"),
    "method_not_allowed": _("There is no such page"),
    "registration_closed": _("Registration is closed"),
    "email_login_off": _("There is no log-in by a code"),
    "storage_unavailable": _("Please try again in a moment"),
    "overloaded": _("Please try again in a moment"),
}
"""What a page says that answers an error which no form can show: code → title."""

NO_PAGE: Final = _("The address may be mistyped or out of date.")
_ACCOUNT: Final = "/account"

HTML: Final = "text/html; charset=utf-8"
_OWN = Path(__file__).parent
_STYLE: Final = "pages.css"


class Look:
    """The templates, the style and the languages of the pages. They are read by `load`, or with the first page.

    :param settings: name, colours and the operator's directory.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._faults = Faults(Log("watchword.web"))
        folder, own = settings.pages_templates, _OWN / "templates"
        self._ours = self._with(own)
        self._environment = self._ours if folder is None else self._with(folder, own)

    def page(
        self,
        call: Call,
        template: str,
        *,
        status: int = 200,
        up: str = "",
        leads_to: str = "",
        headers: tuple[Header, ...] = (),
        **values: object,
    ) -> Reply:
        """Return a page in the language of the client.

        :param up: from this page to the root, such as `../`: relative, so that it works under every prefix and mount
            point.
        :param leads_to: another origin to which the answer to a form of this page may redirect.
        """
        html = self._rendered(template, self.language(call), up, values)
        kind = (b"content-type", HTML.encode())
        return Reply(html.encode(), status, (policy(leads_to), kind, (b"vary", b"Accept-Language"), *headers))

    def refusal(self, accepted: str, path: str, error: WatchwordError, reply: Reply) -> Reply:
        """Return the page of an error that no handler has answered.

        :param accepted: an `Accept-Language`.
        :param path: of the route.
        :param reply: the answer for programs; its status and headers stay.
        """
        status = problem_of(error)[1].status
        return self._refused(accepted, path.count("/") - 1, error, "" if status >= _OURS else error.message, reply)

    def lost(self, scope: Scope, path: str, asked: Mapping[bytes, bytes], error: WatchwordError, reply: Reply) -> Reply:
        """Return the answer to a request without a route: a page for a browser below `/account`, with the way back.

        :param path: below the mount point.
        :param asked: the headers.
        """
        own = f"{self._settings.path_prefix}{_ACCOUNT}/"
        seen = scope["method"] in ("GET", "HEAD") and prefers_page(asked.get(b"accept", b""))
        if not seen or not path.startswith(own):
            return reply
        # A browser counts steps in the address as it is written, where %2F begins none.
        written = scope.get("raw_path") or b""
        steps = path.removeprefix(self._settings.path_prefix).count("/") - written.lower().count(b"%2f") - 1
        return self._refused(client_language(asked), steps, error, NO_PAGE, reply, onward=_ACCOUNT[1:])

    def _refused(
        self, accepted: str, steps: int, error: WatchwordError, about: str, reply: Reply, onward: str = ""
    ) -> Reply:
        language = choose(accepted, self._catalogues)
        known = self._catalogues[language]
        title = REFUSALS.get(problem_of(error)[0], _("Something went wrong"))
        values = {"title": known.get(title, title), "about": known.get(about, about), "onward": onward}
        html = self._rendered("refused.html", language, "../" * steps, values)
        kept = tuple(header for header in reply.headers if header[0] != b"content-type")
        return Reply(html.encode(), reply.status, (policy(), (b"content-type", HTML.encode()), *kept))

    def language(self, call: Call) -> str:
        """Return the language that the client is shown."""
        return choose(call.client.language, self._catalogues)

    def said(self, call: Call, text: str) -> str:
        """Translate a sentence; one without a translation stays as it is."""
        return self._catalogues[self.language(call)].get(text, text)

    def check(self) -> None:
        """Show every page in every language, with all that it may show and without. Raises `SettingsError`."""
        if self._settings.pages_templates is None:
            return
        from watchword.sandbox import where

        try:
            for language in self._catalogues:
                for name, values in SAMPLES.items():
                    for shown in (values, otherwise(values)):
                        self._tried(self._environment, name, language, "", shown)
            self.style()
        except Exception as error:  # a template may fail in any way, such as by dividing by zero
            raise _unfit(where(error, (self._settings.pages_templates,))) from error

    async def load(self) -> None:
        """Compile every template, which takes a tenth of a second: in a thread, so that requests go on.

        Without the pages, those of links in mails are read with the first one.
        """
        if self._settings.pages:
            await asyncio.to_thread(self._load)

    def _load(self) -> None:
        for language in self._catalogues:
            for name in (*SAMPLES, *PARTS):
                try:
                    self._environment(language).get_template(name)
                except Exception as error:  # noqa: BLE001 - it was tried, and its page shows ours where it fails
                    self._faults.add("page_template_failed", error, template=name)

    def style(self) -> bytes:
        """Return the style sheet: ours, the colours, and then the operator's."""
        own = (_OWN / _STYLE).read_text("utf-8")
        colors = (
            f":root {{ --accent: {self._settings.pages_color}; }}\n"
            f"@media (prefers-color-scheme: dark) {{ :root {{ --accent: {self._settings.pages_color_dark}; }} }}\n"
        )
        folder = self._settings.pages_templates
        theirs = "" if folder is None or not (folder / _STYLE).exists() else (folder / _STYLE).read_text("utf-8")
        return (own + colors + theirs).encode()

    def style_route(self) -> Route:
        """Return `GET /pages.css`."""
        content = self.style()
        tag = b'"%b"' % sha256(content).hexdigest()[:32].encode()

        async def show(call: Call) -> Reply:
            return unless_known(call, content, tag, (public_for(600),))

        return Route(
            method="GET",
            path="/pages.css",
            handler=show,
            access=Anyone(),
            summary="The style of our pages",
            media_type="text/css; charset=utf-8",
            documented=False,
        )

    @cached_property
    def _catalogues(self) -> Mapping[str, Catalogue]:
        folder = self._settings.pages_templates
        return catalogues(*(() if folder is None else (folder,)))

    def _rendered(self, template: str, language: str, up: str, values: Mapping[str, object]) -> str:
        """Render a page. Where the operator's template fails after all, ours is shown, and the log says why."""
        try:
            return self._tried(self._environment, template, language, up, values)
        except Exception as error:
            if self._settings.pages_templates is None:
                raise
            self._faults.add("page_template_failed", error, template=template)
            return self._tried(self._ours, template, language, up, values)

    def _tried(self, made: _Made, template: str, language: str, up: str, values: Mapping[str, object]) -> str:
        known = {"language": language, "up": up, "service": self._settings.pages_name, "pages": self._settings.pages}
        return made(language).get_template(template).render(**known, **values)

    def _with(self, *folders: Path) -> _Made:
        """Return what makes the environment of a language, once."""

        @cache
        def made(language: str) -> ImmutableSandboxedEnvironment:
            from watchword.sandbox import environment  # here: a start need not wait for Jinja

            return environment(folders, self._catalogues[language], escapes=True)

        return made


@cache
def policy(leads_to: str = "") -> Header:
    """Return the policy of a page: a style sheet, icons, and forms to ourselves.

    :param leads_to: an allowed origin. Browsers compare a redirect that answers a form with `form-action` too.
    """
    forms = f"form-action 'self' {leads_to}".strip()
    rest = "base-uri 'none'; frame-ancestors 'none'"
    text = f"default-src 'none'; style-src 'self'; img-src 'self'; {forms}; {rest}"
    return b"content-security-policy", text.encode("ascii")


def _unfit(message: str) -> SettingsError:
    hint = "docs/guides/pages.md says which templates there are and what each may show"
    return SettingsError((Fault("WATCHWORD_PAGES_TEMPLATES", message, hint),))
