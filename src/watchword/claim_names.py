"""Names of claims: which ones are the protocol's, and which form a service's own ones have."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

# Only issuing sets these; no setting, function, data or client may (checklist B6).
RESERVED_CLAIMS: Final = frozenset(
    (
        # Of every token, RFC 7519, 9068, and of ours.
        *("iss", "sub", "aud", "exp", "iat", "nbf", "jti", "client_id"),
        *("sid", "scope", "roles", "ver", "rver", "auth_time", "amr", "acr", "azp", "narrowed"),
        # Who acts, and what binds a token to a key or an event: RFC 8693, 7800, 8417, OpenID Connect.
        *("act", "may_act", "cnf", "sub_jwk", "sub_id", "events", "toe", "txn", "nonce", "at_hash", "c_hash", "s_hash"),
        # Of headers (RFC 7515, 7516) and of introspection (RFC 7662): a careless reader merges them.
        *("typ", "alg", "kid", "cty", "crit", "jwk", "jku", "x5u", "x5c", "x5t", "b64", "enc", "zip"),
        *("token_type", "active"),
        # What Spring and others read where there is no `scope`: and there is none in a token without scopes.
        "scp",
    )
)
OF_JAVASCRIPT: Final = frozenset(("__proto__", "constructor", "prototype"))
"""An API that merges an object with one of these names into another would change every object there."""
LONGEST_NAME: Final = 64
_FORM = re.compile(rf"[A-Za-z][A-Za-z0-9_.:/-]{{0,{LONGEST_NAME - 1}}}")


def fault_of(name: str) -> str:
    """Return why a claim may not have this name, or "".

    A name that differs from a reserved one in case only is refused too: some readers, such as Go's, take it for that.
    """
    if name.lower() in RESERVED_CLAIMS:
        return "is a claim of the protocol, which only the service itself sets"
    if name in OF_JAVASCRIPT:
        return "means something else to JavaScript"
    if not _FORM.fullmatch(name):
        return f"is no name of a claim: a letter, then letters, digits, '_', '.', ':', '/', '-'; at most {LONGEST_NAME}"
    return ""


def alike(names: Iterable[str]) -> str:
    """Return a name that differs from one before it in case only, or "": readers that ignore case take one for both."""
    seen = set[str]()
    for name in names:
        if name.lower() in seen:
            return name
        seen.add(name.lower())
    return ""
