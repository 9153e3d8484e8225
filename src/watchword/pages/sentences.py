"""What the kernel's errors say, listed so that the catalogues translate it on pages. A test compares the two."""

from __future__ import annotations

from typing import Final

from watchword.errors import FieldError
from watchword.languages import marked as _

NO_ADDRESS: Final = _("This is not an e-mail address.")
ERRORS: Final = (
    _("The username, e-mail address or password is wrong."),
    _("The e-mail address of this account is not confirmed yet."),
    _("This username is taken."),
    _("This e-mail address is taken."),
    _("This link or code is wrong, was used before, or has expired. Ask for another one."),
    _("This code is wrong, was used before, or has expired."),
    _("This service sends no mail."),
    _("This service sends no codes to log in."),
    _("This service does not let people register themselves."),
    _("This form does not come from a page of ours."),
    _("Enter the password of the account. If you do not know it, set a new one, as someone who has forgotten it."),
    _("Enter the password that was chosen with it. If you did not choose one, do nothing: nothing is done."),
    _("An e-mail address is needed."),
    _("A username or an e-mail address is needed."),
    _("A password has at least 8 characters."),
    _("A password has at least 15 characters."),
    _("A password has at most 1024 bytes."),
    _("A password has at most 72 bytes."),
    _("This password is on the list of those that attackers try first."),
    _("A password does not contain the username or e-mail."),
    _("This username is reserved."),
    _("A username cannot look like an id."),
    _("A username has 1 to 64 characters."),
    _("A username has only letters, digits, '.', '_' and '-'."),
    _("A username has letters of one script only."),
)


def sentence(fault: FieldError) -> str:
    """Return what a page says of a faulty field; a library's remark on an address is left out."""
    return NO_ADDRESS if fault.code == "email" else fault.message
