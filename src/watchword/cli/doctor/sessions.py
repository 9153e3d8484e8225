"""Attacks on sessions: tokens after a log-out, refresh tokens that were replaced, the cookie itself."""

from __future__ import annotations

import time
from http import HTTPStatus

from watchword.cli.doctor.account import Session, session_of
from watchword.cli.doctor.findings import Seen, failed, passed, skipped, warned
from watchword.cli.doctor.visit import Visit
from watchword.clock import monotonic

_REVOKED_WITHIN = 3.0
_PAUSE = 0.25


def revoked(visit: Visit) -> Seen:
    """Log out, and send the access token and the cookie again."""
    session = visit.account.log_in()
    if not visit.shows(session.access).ok:
        return skipped("the service refuses the real token too")
    out = visit.wire.ask("POST", "/logout", headers=(*session.bearer, *session.shown))
    if not out.ok:
        return failed(f"POST /logout answered {out.said}")
    begun = monotonic()
    while visit.shows(session.access).ok:
        if monotonic() - begun > _REVOKED_WITHIN:
            return failed(f"{_REVOKED_WITHIN:.0f} s after the log-out the access token is still accepted")
        time.sleep(_PAUSE)
    if visit.wire.ask("POST", "/refresh", headers=session.shown).ok:
        return failed("the refresh token is accepted after the log-out")
    return passed(f"both tokens were refused {monotonic() - begun:.1f} s after the log-out")


def replayed(visit: Visit) -> Seen:
    """Refresh twice, and send the first and the second refresh token again."""
    first = visit.account.log_in()
    if not first.value:
        return skipped("the log-in set no refresh cookie")
    second = _refreshed(visit, first)
    third = _refreshed(visit, second) if second is not None else None
    if second is None or third is None:
        return warned("POST /refresh refused a fresh refresh token")
    again = _refreshed(visit, second)  # within the grace: a lost answer may be asked for again
    if again is not None and again.value != third.value:
        return failed("a refresh token that was used has a second successor: both go on")
    answer = visit.wire.ask("POST", "/refresh", headers=first.shown)
    if answer.ok:
        return failed("a refresh token that was replaced twice is still accepted")
    if answer.status not in {HTTPStatus.UNAUTHORIZED, HTTPStatus.CONFLICT, HTTPStatus.BAD_REQUEST}:
        return warned(f"a refresh token that was replaced twice was answered with {answer.said}")
    grace = "gave the same successor" if again is not None else "was refused"
    return passed(f"one replaced twice was refused ({answer.said}); one just replaced {grace}")


def _refreshed(visit: Visit, session: Session) -> Session | None:
    """Refresh; return the session with its new tokens, or None."""
    answer = visit.wire.ask("POST", "/refresh", headers=session.shown)
    found = session_of(answer)
    if found is None or not found.value:
        return None
    visit.account.replaced(session, found)
    return found


def cookie(visit: Visit) -> Seen:
    """Look at the flags of the refresh cookie."""
    line = visit.session.set_cookie
    if not line:
        return skipped("the log-in set no refresh cookie")
    flags = {part.partition("=")[0].strip().lower(): part.partition("=")[2].strip() for part in line.split(";")[1:]}
    wrong = [name for name in ("HttpOnly", "SameSite") if name.lower() not in flags]
    if flags.get("samesite", "strict").lower() not in {"strict", "lax"}:
        wrong.append(f"SameSite={flags['samesite'][:20]}")
    if visit.wire.secure:
        wrong += [] if "secure" in flags else ["Secure"]
        wrong += [] if visit.session.cookie.startswith("__Host-") else ["the name prefix __Host-"]
    if wrong:
        return failed(f"{visit.session.cookie} is without {', '.join(wrong)}")
    if "domain" in flags:
        return failed(f"{visit.session.cookie} goes to every host below {flags['domain'][:80]}")
    return passed(f"{visit.session.cookie}: {', '.join(sorted(flags))}")
