"""Mail: confirm an address, change it, take a change back."""

from __future__ import annotations

from watchword.features.mail.routes import MailRoutes
from watchword.features.mail.service import MailedAddresses
from watchword.identity.kernel import Kernel
from watchword.identity.one_time import UNDO
from watchword.identity.redeeming import CONFIRMS
from watchword.languages import marked as _
from watchword.web.cookies import DeviceCookie, SessionCookies
from watchword.web.feature import Feature, Link


def feature(kernel: Kernel, cookie: SessionCookies, device: DeviceCookie) -> Feature:
    """Return what this feature declares."""
    service = MailedAddresses(kernel)
    links = (
        Link(
            purposes=CONFIRMS,
            title=_("Confirm this e-mail address"),
            about=_("Press the button to confirm that this address is yours and that you want it here."),
            button=_("Confirm"),
            done=_("The address is confirmed. You can close this page and log in."),
            act=service.confirm_by_link,
            asks="password",
        ),
        Link(
            purposes=(UNDO,),
            title=_("Take the account back"),
            about=_("Press the button to bring back your former address, end every session and remove the password."),
            button=_("Take it back"),
            done=_("Your former address is back. Set a new password now, as someone who has forgotten it."),
            act=service.undo_by_link,
        ),
    )
    about = "Confirm an e-mail address, change it, take a change back."
    return Feature("mail", MailRoutes(service, cookie, device).table(), about, links=links)
