"""What names and passwords must be before they are stored."""

from __future__ import annotations

from watchword.errors import FieldError, InvalidInput
from watchword.identity import identifiers, password_policy
from watchword.identity.identifiers import Identifier
from watchword.identity.user_row import User
from watchword.settings import Settings


class Requirements:
    """Checks new names and passwords by the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def named(self, username: str | None, email: str | None, password: str | None) -> dict[str, Identifier]:
        """Normalise the identifiers; raise with every fault of every field at once."""
        errors: list[FieldError] = []
        named: dict[str, Identifier] = {}
        for kind, text in (("username", username), ("email", email)):
            if text is None:
                continue
            try:
                named[kind] = self._identifier(kind, text)
            except InvalidInput as error:
                errors.extend(error.errors)
        if username is None and email is None:
            errors.append(FieldError("username", "required", "A username or an e-mail address is needed."))
        if password is not None:
            errors.extend(self.faults(password, tuple(t for t in (username, email) if t), "password"))
        if errors:
            raise InvalidInput(*errors)
        return named

    def _identifier(self, kind: str, text: str) -> Identifier:
        if kind == "username":
            return identifiers.username(text)
        return identifiers.email(text, private=self._settings.private_email)

    def faults(self, password: str, names: tuple[str, ...], field: str) -> list[FieldError]:
        """Return what is wrong with a new password; `names` are the user's own."""
        return password_policy.faults(
            password,
            identifiers=names,
            policy=self._settings.password_policy,
            hash_kind=self._settings.password_hash,
            field=field,
        )

    def changed(self, user: User, username: str | None, email: str | None) -> dict[str, Identifier]:
        """Return what differs, normalised. A name stored under an older version's rules may stay."""
        old = {"username": user.username, "email": user.email}
        wanted = {
            kind: text
            for kind, text in (("username", username), ("email", email))
            if text is not None and identifiers.tidy(text) != old[kind]
        }
        named = self.named(wanted.get("username"), wanted.get("email"), None) if wanted else {}
        return {kind: identifier for kind, identifier in named.items() if identifier.text != old[kind]}
