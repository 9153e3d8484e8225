"""What someone who guesses passwords learns, and what stops them. Few samples: no one is locked out.

Wrong passwords for names that no one has meet the limit. For the doctor's own account only so many are sent that it can
still be deleted; for a given account none.
"""

from __future__ import annotations

import ipaddress
import json
import secrets
from contextlib import suppress
from http import HTTPStatus
from statistics import median

from watchword.cli.doctor.account import Credentials
from watchword.cli.doctor.findings import Outcome, Seen, failed, passed, skipped, warned
from watchword.cli.doctor.visit import Visit
from watchword.cli.doctor.wire import Answer

MOST_GUESSES = 12
_SAMPLES = 7
_SHARED = "not tried: wrong passwords may use up the limit of an address that others share"
_SPARE = 2  # wrong passwords that are left for the account's end
_CLEAR = 2  # times slower, with no overlap: a busy machine shows less; a hash that is left out shows twenty
_PASSING = frozenset({"date", "content-length", "x-request-id", "traceparent", "server-timing", "age", "cf-ray"})
_CLAIMED = "198.51.100.77"  # an address of documentation (RFC 5737)
_SPOOFS = (
    ("X-Forwarded-For", "{}"), ("X-Real-IP", "{}"), ("Forwarded", "for={}"), ("X-Client-IP", "{}"),
    ("True-Client-IP", "{}"), ("CF-Connecting-IP", "{}"),
)  # fmt: skip


def limited(visit: Visit) -> Seen:
    """Send wrong passwords for one name until a limit answers."""
    if not visit.may_guess:
        return skipped(_SHARED)
    name = visit.limited_name = _no_one()
    for number in range(MOST_GUESSES):
        answer = visit.account.tried(name)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            return _limit(visit, answer, number)
        if answer.status != HTTPStatus.UNAUTHORIZED:
            return warned(f"a wrong password was answered with {answer.said}")
    return failed(f"{MOST_GUESSES} wrong passwords for one name in a row met no limit")


def _limit(visit: Visit, answer: Answer, taken: int) -> Seen:
    visit.login_quota = taken
    policy = answer.header("ratelimit-policy").partition(", ")[0]  # that of log-ins is the first of the route's
    if taken == 0:
        return warned(
            f"the limit for this address is used up ({policy or answer.said}): what follows may be refused too"
        )
    if policy and taken < int(policy.partition(";q=")[2].partition(";")[0] or 0):  # it was met before its own number
        visit.may_guess = False  # with more of them this machine could not log in, and the account not be deleted
        return warned(f"another limit was met after {taken} wrong passwords ({policy}): run this again when it is over")
    after = "" if answer.header("retry-after") else ", without Retry-After"
    return passed(f"refused after {taken} wrong passwords ({policy or answer.said}){after}")


def spoofed(visit: Visit) -> Seen:
    """Meet the limit, then claim to be another address by each header of proxies."""
    name = visit.limited_name
    if not visit.may_guess:
        return skipped(_SHARED)
    if not visit.login_quota or name is None:
        return skipped("no limit was met that a claimed address could pass")
    passing = [
        header
        for header, form in _SPOOFS
        if visit.account.tried(name, headers=((header, form.format(_CLAIMED)),)).status != HTTPStatus.TOO_MANY_REQUESTS
    ]
    if passing:
        return failed(f"{', '.join(passing)} from outside is believed: each claimed address has limits of its own")
    return passed(f"{len(_SPOOFS)} headers with a claimed address change nothing")


def counted_address(visit: Visit) -> Seen:
    """Compare the address that the service has noted for our session with our own."""
    session = visit.account.log_in(headers=(("X-Forwarded-For", _CLAIMED),))
    answer = visit.wire.ask("GET", "/sessions", headers=session.bearer)
    items = answer.json().get("items")
    current = (
        [each for each in items if isinstance(each, dict) and each.get("current")] if isinstance(items, list) else []
    )
    if not current:
        return skipped(f"GET /sessions answered {answer.said}")
    seen = judged_address(str(current[0].get("address")), local=visit.wire.local, remote=visit.wire.remote)
    visit.may_guess = seen.outcome is not Outcome.FAIL or _CLAIMED in seen.text
    return seen


def judged_address(noted: str, *, local: str, remote: str) -> Seen:
    """Judge what a service noted as our address.

    :param local: our end of the connection.
    :param remote: its other end: the service, or a proxy before it.
    """
    if noted == _CLAIMED:
        return failed(f"the address that X-Forwarded-For claimed ({_CLAIMED}) was noted as ours")
    if noted == local:
        return passed(f"the service notes our own address ({noted})")
    if noted in {remote, "unknown"} or _is_loopback(noted):
        return failed(f"the service notes {noted} as our address, which is a proxy's: all clients share its limits")
    if _is_inside(noted):
        if _is_loopback(local) or not _is_inside(remote):
            return failed(f"the service notes {noted} as our address, a proxy's: all clients share its limits")
        return warned(
            f"the service notes {noted} and we are {local}: if that is a proxy's, all clients share its limits"
        )
    return passed(f"the service notes {noted}; we are {local} (a network between translates addresses, or a proxy)")


def enumerated(visit: Visit) -> Seen:
    """Compare the answers to a wrong password and to an unknown name: bytes, and time."""
    own = visit.account.credentials
    if own is None or not visit.account.own:
        return skipped("only tried with an account of the doctor's own, so that no one is locked out")
    if not visit.may_guess:
        return skipped(_SHARED)
    count = min(_SAMPLES, _SAMPLES if visit.login_quota is None else visit.login_quota - _SPARE)
    if count < 1:
        return skipped("the limit on wrong passwords is too low to try without locking the account")
    pairs = [
        (visit.account.tried(Credentials(own.name, _word())), visit.account.tried(_no_one())) for _ in range(count)
    ]
    known, unknown = pairs[0]
    if any(answer.status == HTTPStatus.TOO_MANY_REQUESTS for pair in pairs for answer in pair):
        return skipped("a limit of this address was met before")
    differences = _differences(known, unknown)
    if differences:
        return failed(f"a name that exists differs by {', '.join(differences)} ({known.said}; {unknown.said})")
    return times([each.seconds for each, _ in pairs], [each.seconds for _, each in pairs])


def _differences(known: Answer, unknown: Answer) -> list[str]:
    first, second = _lasting(known), _lasting(unknown)
    return [what for what in first if first[what] != second[what]]


def _lasting(answer: Answer) -> dict[str, object]:
    """Return what does not differ from one request to the next."""
    body: object = answer.body
    with suppress(ValueError):
        found = json.loads(answer.body)
        body = (
            {name: text for name, text in found.items() if name != "request_id"} if isinstance(found, dict) else found
        )
    headers = sorted((name.lower(), text) for name, text in answer.headers if name.lower() not in _PASSING)
    return {"status": answer.status, "headers": headers, "body": body}


def times(known: list[float], unknown: list[float]) -> Seen:
    """Judge seconds of log-ins with a wrong password: of a name that exists, and of names that do not."""
    slow, fast = sorted((known, unknown), key=median, reverse=True)
    shown = f"medians of {len(known)}: {median(known) * 1000:.0f} ms known, {median(unknown) * 1000:.0f} ms unknown"
    if len(known) == _SAMPLES and min(slow) > max(fast) and median(slow) > _CLEAR * median(fast):
        return warned(f"the same bytes, but the times differ clearly ({shown})")
    return passed(f"the same status, headers and bytes; no clear difference in time ({shown})")


def _no_one() -> Credentials:
    return Credentials(f"doctor-{secrets.token_hex(8)}", _word())


def _word() -> str:
    return secrets.token_urlsafe(24)


def _is_inside(address: str) -> bool:
    with suppress(ValueError):
        return not ipaddress.ip_address(address).is_global
    return False


def _is_loopback(address: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(address).is_loopback
    return False
