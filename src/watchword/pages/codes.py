"""Log in by a code that is sent by e-mail: one page asks for the address, and the next for the code.

The handle stands in the form of the second page. So the code works in the browser that asked for it, and in no other.
"""

from __future__ import annotations

from watchword.errors import WatchwordError
from watchword.features.codes.service import Codes
from watchword.identity.kernel import Kernel
from watchword.pages.answering import Answers, asked
from watchword.pages.destination import carrying
from watchword.pages.entrance import shows
from watchword.pages.forms import AskCodeForm, EnterCodeForm
from watchword.web.pages.layout import HTML
from watchword.web.route import Call, OwnPage, Reply, Route, Speech


class CodePages:
    """The pages of a log-in by a code."""

    def __init__(self, kernel: Kernel, answers: Answers) -> None:
        self._answers = answers
        self._codes = Codes(kernel)

    def table(self) -> tuple[Route, ...]:
        """Return these pages' routes."""
        return (
            shows("/account/code", self.show, "Log in by a code"),
            Route(method="POST", path="/account/code", handler=self.ask, access=OwnPage(), form=AskCodeForm,
                  summary="Send a code to log in by the form", limits=("mail",), media_type=HTML, speech=Speech.PAGE,
                  documented=False),
            shows("/account/code/confirm", self.show, "Log in by a code"),
            Route(method="POST", path="/account/code/confirm", handler=self.log_in, access=OwnPage(),
                  form=EnterCodeForm, summary="Log in by a code by the form", limits=("code", "session"),
                  media_type=HTML, speech=Speech.PAGE, documented=False),
        )  # fmt: skip

    async def show(self, call: Call) -> Reply:
        """`GET /account/code`; also what a browser opens that comes back to the second page: its handle is gone."""
        self._codes.require_on()
        return self._answers.page(call, "code.html", **carrying(self._answers.destination(asked(call, "next"))))

    async def ask(self, call: Call) -> Reply:
        """`POST /account/code`. Every address gets the same answer."""
        form: AskCodeForm = call.body
        leads_to = self._answers.destination(form.next)
        try:
            sent = await self._codes.ask(form.email, client=call.client, device=self._answers.device(call))
        except WatchwordError as error:
            typed = {"email": form.email}
            return self._answers.again(call, "code.html", error, typed=typed, **carrying(leads_to))
        return self._answers.page(call, "enter_code.html", handle=sent.handle, **carrying(leads_to))

    async def log_in(self, call: Call) -> Reply:
        """`POST /account/code/confirm`."""
        form: EnterCodeForm = call.body
        leads_to = self._answers.destination(form.next)
        try:
            logged_in = await self._codes.log_in(
                form.handle, form.code, client=call.client, replacing=self._answers.cookie.read(call.scope)
            )
        except WatchwordError as error:
            return self._answers.again(
                call, "enter_code.html", error, refused="code", handle=form.handle, **carrying(leads_to)
            )
        return self._answers.go_on(call, leads_to, *self._answers.signed_in(call, logged_in))
