"""Recovery: a new password for someone who has forgotten theirs."""

from __future__ import annotations

from watchword.features.recovery.routes import RecoveryRoutes
from watchword.features.recovery.service import RESETS, Recovery
from watchword.identity.kernel import Kernel
from watchword.languages import marked as _
from watchword.web.cookies import DeviceCookie
from watchword.web.feature import Feature, Link


def feature(kernel: Kernel, device: DeviceCookie) -> Feature:
    """Return what this feature declares."""
    service = Recovery(kernel)
    link = Link(
        purposes=RESETS,
        title=_("Set a new password"),
        about=_("Choose a new password. Every session of the account ends."),
        button=_("Set the password"),
        done=_("The new password is set. You can close this page and log in with it."),
        act=service.reset_by_link,
        asks="new_password",
    )
    return Feature("recovery", RecoveryRoutes(service, device).table(), "Set a new password by mail.", links=(link,))
