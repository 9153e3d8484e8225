"""What the forms send. A field that is left empty is not sent on (`decode_form`), and each has a default."""

from __future__ import annotations

import msgspec


class LogInForm(msgspec.Struct):
    """Name or address, password, and where to go then."""

    username: str = ""
    password: str = ""
    next: str = ""


class RegisterForm(msgspec.Struct):
    """Username, address or both, password, and where to go after the log-in."""

    username: str = ""
    email: str = ""
    password: str = ""
    next: str = ""


class AddressForm(msgspec.Struct):
    """An address that a mail goes to."""

    email: str = ""


class CodeForm(msgspec.Struct):
    """A code and its handle; for a reset the password to set, and to confirm an address that of the account."""

    handle: str = ""
    code: str = ""
    password: str = ""
    new_password: str = ""


class AskCodeForm(msgspec.Struct):
    """An address that a code to log in goes to, and where to go then."""

    email: str = ""
    next: str = ""


class EnterCodeForm(msgspec.Struct):
    """A code to log in and its handle, and where to go then."""

    handle: str = ""
    code: str = ""
    next: str = ""


class AccountForm(msgspec.Struct):
    """What the forms of the account send: each the token of its session, and some of the rest."""

    token: str = ""
    session: str = ""
    password: str = ""
    new_password: str = ""
    email: str = ""
