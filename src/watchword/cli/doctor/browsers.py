"""What a foreign web page can do with a visitor's browser."""

from __future__ import annotations

from watchword.cli.doctor.account import session_of
from watchword.cli.doctor.findings import Seen, failed, passed, skipped
from watchword.cli.doctor.visit import FOREIGN, Visit
from watchword.cli.doctor.wire import Answer, Headers

_PAGES: tuple[tuple[str, Headers], ...] = (
    ("Origin: " + FOREIGN, (("Origin", FOREIGN),)),
    ("Origin: null", (("Origin", "null"),)),
    ("Sec-Fetch-Site: cross-site", (("Sec-Fetch-Site", "cross-site"),)),
)


def origin_rule(visit: Visit) -> Seen:
    """Refresh, log in and log out as a foreign page would make a browser do it: with its cookie."""
    if not visit.session.value or visit.account.credentials is None:
        return skipped("the log-in set no refresh cookie")
    done = []
    for who, headers in _PAGES:
        answer = visit.wire.ask("POST", "/refresh", headers=(*visit.session.shown, *headers))
        found = session_of(answer)
        if found is not None:
            visit.keep(found)
        if answer.ok:
            done.append(f"refreshed ({who})")
        answer = visit.account.tried(visit.account.credentials, headers=headers)
        if answer.ok:
            done.append(f"logged in ({who})")
    session = visit.account.log_in()
    if visit.wire.ask("POST", "/logout", headers=(*session.shown, ("Origin", FOREIGN))).ok:
        done.append(f"logged out (Origin: {FOREIGN})")
    if done:
        return failed(f"a foreign page {', '.join(done)}")
    return passed("refreshing, log-in and log-out are refused to a foreign page, a page without an origin, and by site")


def cors(visit: Visit) -> Seen:
    """Ask as a script of a foreign page does, and look who may read the answers."""
    bearer = visit.session.bearer
    asked: dict[str, tuple[str, str, Headers]] = {
        "GET /profile": ("GET", "/profile", bearer),
        "a preflight for PATCH /profile": ("OPTIONS", "/profile", _preflight("PATCH", "authorization,content-type")),
        "a preflight for POST /refresh": ("OPTIONS", "/refresh", _preflight("POST", "content-type")),
    }
    open_to = []
    for origin in (FOREIGN, "null", visit.wire.place.geturl() + ".attacker.example"):
        for what, (method, path, given) in asked.items():
            answer = visit.wire.ask(method, path, headers=(*given, ("Origin", origin)))
            if (seen := _allowed(answer, origin)) is not None:
                open_to.append(f"{what} from {origin}: {seen}")
    if open_to:
        return failed("; ".join(open_to[:4]) + (" …" if len(open_to) > 4 else ""))  # noqa: PLR2004 - enough to find it
    return passed("no foreign page may read an answer, nor one without an origin, nor one whose name begins like ours")


def _preflight(method: str, headers: str) -> tuple[tuple[str, str], ...]:
    return (("Access-Control-Request-Method", method), ("Access-Control-Request-Headers", headers))


def _allowed(answer: Answer, origin: str) -> str | None:
    allowed = answer.header("access-control-allow-origin")
    if allowed not in {"*", origin}:
        return None
    credentials = answer.header("access-control-allow-credentials").lower() == "true"
    return f"Access-Control-Allow-Origin {allowed}" + (", with credentials" if credentials else "")
