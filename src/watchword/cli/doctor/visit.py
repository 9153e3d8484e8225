"""What the checks from outside share: the wire, the account, one log-in, and what is known of the deployment."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from urllib.parse import urlsplit

from watchword.cli.doctor.account import GIVE_ONE, Account, Credentials, Session
from watchword.cli.doctor.findings import Seen, Unseen, failed, passed, skipped, warned
from watchword.cli.doctor.forged import Parts, parts_of
from watchword.cli.doctor.wire import Answer, Headers, Wire
from watchword.hosts import is_loopback
from watchword.tokens.keys import SigningKey

ANOTHER = "this is another installation than that of the settings here"
FOREIGN = "https://attacker.example"


class Visit:
    """One look at a deployment from outside."""

    def __init__(self, wire: Wire, account: Account) -> None:
        self.wire = wire
        self.account = account
        self.issuer = ""
        self.home = ""
        """The issuer of the settings at hand, if there are any."""
        self.signing: SigningKey | None = None
        """The key of those settings; once `belongs` has looked, the deployment's own: it signs an expired token."""
        self.login_quota: int | None = None
        """How many wrong passwords the service takes for one name; None if no limit was met."""
        self.limited_name: Credentials | None = None
        """A name that no one has, and whose limit is used up."""
        self.may_guess = False
        """Whether wrong passwords count against us alone, and not against an address that all clients share."""
        self._session: Session | None = None

    @property
    def on_loopback(self) -> bool:
        """Tell whether only this machine reaches the deployment."""
        return is_loopback(self.wire.place.hostname or "")

    @property
    def session(self) -> Session:
        """Return the log-in that most checks use. :raises Unseen: there is none."""
        if self._session is None:
            self._session = self.account.log_in()
        return self._session

    def keep(self, session: Session) -> None:
        """Use these tokens of the same log-in from now on."""
        if self._session is not None:
            self.account.replaced(self._session, session)
        self._session = session

    def token(self) -> Parts:
        """Return the parts of a real access token. :raises Unseen:"""
        return parts_of(self.session.access)

    def shows(self, token: str) -> Answer:
        """Ask for the own profile with a token."""
        return self.wire.ask("GET", "/profile", headers=bearer(token))

    def meets(self) -> Seen:
        """Look whether this is a Watchword, and make the account."""
        document = self.wire.ask("GET", "/.well-known/oauth-authorization-server")
        issuer = document.json().get("issuer")
        if not document.ok or not isinstance(issuer, str):
            return failed(f"the metadata was answered with {document.said}: this is no Watchword")
        self.issuer = issuer
        ready = self.wire.ask("GET", "/readyz")
        if not ready.ok:
            return failed(f"/readyz answered {ready.said}")
        given = self.wire.place.geturl()
        if issuer != given:
            return warned(f"it answers at {given}, and calls itself {issuer}: guards need the latter, byte for byte")
        return passed(f"it is ready, and its issuer is {issuer}")

    def belongs(self) -> Seen:
        """Look whether this is the installation whose settings are at hand: its key set has their key."""
        key, self.signing = self.signing, None
        if not self.home:
            return skipped("there are no settings here to compare it with")
        if self.home != self.issuer:
            return skipped(f"the settings here are of {self.home}")
        if key is None:
            return skipped("the key of the settings here is not at hand")
        if key.verification_key.symmetric:
            self.signing = key
            return skipped("a shared secret is not published: the expired token shows whose it is")
        keys = self.wire.ask("GET", "/.well-known/jwks.json").json().get("keys")
        if not isinstance(keys, list) or key.kid not in [each.get("kid") for each in keys if isinstance(each, dict)]:
            return failed(f"the key that signs here ({key.kid}) is not in its key set: {ANOTHER}")
        self.signing = key
        return passed("its key set has the key that signs here")

    def registers(self) -> Seen:
        """Make the account, and judge who else may."""
        self.account.make()
        answer = self.account.registered
        if answer is None:
            if not self.wire.secure and not self.on_loopback:
                self.account.credentials = None
                return failed("the password of the given account is not sent over plain http")
            return skipped("an account was given, so that none was registered")
        if answer.ok and self.account.credentials is not None and answer.status == HTTPStatus.CREATED:
            if self.on_loopback:
                return passed("open, on an address that only this machine reaches")
            return warned("anyone may register, and no address has to be confirmed")
        self.account.credentials = None
        if answer.ok or answer.status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return passed(f"an account begins with a confirmed address. To check the rest: {GIVE_ONE}")
        if answer.status == HTTPStatus.FORBIDDEN:
            return passed(f"closed ({answer.said}). To check the rest: {GIVE_ONE}")
        return warned(f"POST /register answered {answer.said}. To check the rest: {GIVE_ONE}")


def bearer(token: str) -> Headers:
    """Return the header that shows a token."""
    return (("Authorization", f"Bearer {token}"),)


def refuses(visit: Visit, forgeries: Iterable[tuple[str, str]], what: str) -> Seen:
    """Show each forgery: all must be refused as no valid token, none accepted, none an exception.

    The real token is shown first, so that a service which refuses everything does not pass.
    """
    if not visit.shows(visit.session.access).ok:
        raise Unseen("the service refuses the real token too")
    accepted, strange, count = [], [], 0
    for how, token in forgeries:
        answer = visit.shows(token)
        count += 1
        if answer.ok:
            accepted.append(how)
        elif answer.status != HTTPStatus.UNAUTHORIZED:
            strange.append(f"{how}: {answer.said}")
    if accepted:
        return failed(f"accepted: {'; '.join(accepted)}")
    if strange:
        return warned(f"not refused with 401: {'; '.join(strange)}")
    return passed(f"{count} {what} refused")


def origin_of(url: str) -> str:
    """Return scheme, host and port."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
