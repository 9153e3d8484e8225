"""A remembered token must not outlive anything: fast-jwt CVE-2026-35039, Oathkeeper CVE-2026-33496 and their kin.

⚑ The two points that an earlier draft got wrong are here: the swap of keys, and revoked keys on cache hits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from tests.attacks.forging import AUDIENCE, ISSUER, NOW, accept, claims, forge, header, honest, key, refuse, verifier
from watchword.errors import TokenError
from watchword.tokens import KeySet, Needs, Policy, RevocationSet, SigningKey, Verifier, sign_access
from watchword.tokens import verify as verify_module
from watchword.tokens.revocations import Kind

DELETE, OWNER = Needs(scopes=frozenset({"delete"})), Needs(roles=frozenset({"owner"}))


def code(chosen: Verifier, token: str, **how: Any) -> str:
    with pytest.raises(TokenError) as caught:
        chosen.verify(token, **{"now": NOW, **how})
    return caught.value.code


def test_a_second_look_checks_no_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this the tests below would not test hits at all."""
    chosen, token = verifier(), honest()
    first = accept(token, chosen)
    monkeypatch.setattr(verify_module, "check_signature", lambda *_: pytest.fail("checked again"))
    assert accept("".join(list(token)), chosen) is first


def test_A25_it_is_kept_by_the_whole_token() -> None:
    chosen, token = verifier(), honest()
    accept(token, chosen)
    for other in (token[:-4] + "AAAA", token[:-1], token + "A", token.upper(), token.replace(".", "..", 1)):
        with pytest.raises(TokenError):
            chosen.verify(other, now=NOW)


def test_A25_nothing_that_was_refused_is_kept() -> None:
    chosen = verifier()
    for token in (honest(exp=NOW), honest(iss="x"), honest(aud="x"), honest()[:-4] + "AAAA", honest(nbf=NOW + 1)):
        with pytest.raises(TokenError):
            chosen.verify(token, now=NOW)
    assert len(chosen._cache) == 0


@pytest.mark.parametrize(
    ("kind", "subject"),
    [
        ("session", claims()["sid"]),
        ("user", claims()["sub"]),
        ("key", key().kid),
    ],
    ids=["session", "user", "key"],
)
def test_A25_a_hit_is_checked_against_each_kind_of_revocation(kind: Kind, subject: str) -> None:
    """⚑ A revoked key too: its tokens are in the cache until the key set is fetched."""
    chosen, token, revoked = verifier(), honest(), RevocationSet()
    assert chosen.verify(token, now=NOW, revocations=revoked) is chosen.verify(token, now=NOW, revocations=revoked)
    revoked.add(kind, subject, 4, NOW + 900)
    assert code(chosen, token, revocations=revoked) == "token_revoked"
    assert code(verifier(), token, revocations=revoked) == "token_revoked"
    if kind == "user":
        newer = honest(ver=4)
        assert chosen.verify(newer, now=NOW, revocations=revoked) is chosen.verify(newer, now=NOW, revocations=revoked)


def test_a_revoked_key_is_told_apart_from_an_unknown_one_once_it_has_left_the_key_set() -> None:
    """⚑ For its name alone: whether the signature is genuine cannot be known, and nothing is remembered."""
    revoked, gone = RevocationSet(), verifier().with_keys(KeySet([key("PS256").verification_key]))
    revoked.add("key", key().kid, 0, 0)
    tampered = honest()[:-8] + "AAAAAAAA"
    for token in (honest(), tampered, honest(exp=NOW)):
        for _ in range(2):
            assert code(gone, token, revocations=revoked) == "token_revoked"
            assert code(gone, token, revocations=RevocationSet()) == code(gone, token) == "token_invalid"
        with pytest.raises(TokenError, match="revoked"):
            gone.verify_genuine(token, revocations=revoked)
    assert code(gone, honest("RS256"), revocations=revoked) == "token_invalid"
    assert code(gone, forge(header(alg="none"), claims()), revocations=revoked) == "token_invalid"
    assert (len(gone._cache), gone._headers) == (0, {})


def test_A25_a_hit_rechecks_time_scope_role_and_audience() -> None:
    chosen, token = verifier(), honest()
    accept(token, chosen)
    assert code(chosen, token, now=NOW + 900) == "token_expired"
    assert code(chosen, token, now=NOW - 1) == "token_not_yet_valid"
    assert code(chosen, token, needs=DELETE) == "scope_missing"
    assert code(chosen, token, needs=OWNER) == "role_missing"
    chosen._audience = "https://other.example.com"
    assert code(chosen, token) == "token_invalid"


def test_expiry_is_told_before_revocation_and_revocation_before_scope() -> None:
    chosen, revoked = verifier(), RevocationSet()
    revoked.add("user", claims()["sub"], 4, NOW + 900)
    for _ in range(2):
        assert code(chosen, honest(), now=NOW + 900, revocations=revoked) == "token_expired"
        assert code(chosen, honest(), revocations=revoked, needs=DELETE) == "token_revoked"
        assert code(chosen, honest(), needs=Needs(OWNER.roles, DELETE.scopes)) == "scope_missing"


class TwoReferences:
    """How it must not be built: the key set and the cache are replaced one after the other."""

    def __init__(self, keys: KeySet) -> None:
        self.keys = keys
        self.remembered: dict[str, object] = {}

    def replace(self, keys: KeySet) -> None:
        self.keys = keys
        self.remembered = {}

    def verify(self, token: str) -> object:
        if token not in self.remembered:
            claims_ = Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), self.keys, cache_size=0).verify(token, now=NOW)
            self.remembered[token] = claims_
        return self.remembered[token]


class OneReference:
    """How a guard holds it."""

    def __init__(self, keys: KeySet) -> None:
        self.verifier = Verifier(Policy(ISSUER, AUDIENCE, ("ES256",)), keys)

    def replace(self, keys: KeySet) -> None:
        self.verifier = self.verifier.with_keys(keys)

    def verify(self, token: str) -> object:
        return self.verifier.verify(token, now=NOW)


def swap_while_verifying(make: Callable[[KeySet], Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a token of the old key is accepted after the swap, if one was being verified during it."""
    old, new = SigningKey.generate("ES256"), SigningKey.generate("ES256")
    holder = make(KeySet([old.verification_key]))
    token = sign_access(claims(), old)
    checking, swapped = threading.Event(), threading.Event()
    real = verify_module.check_signature

    def slow(*arguments: Any) -> bytes:
        payload = real(*arguments)
        checking.set()
        assert swapped.wait(10)
        return payload

    monkeypatch.setattr(verify_module, "check_signature", slow)
    thread = threading.Thread(target=holder.verify, args=(token,))
    thread.start()
    assert checking.wait(10)
    holder.replace(KeySet([new.verification_key]))
    swapped.set()
    thread.join()
    monkeypatch.setattr(verify_module, "check_signature", real)
    try:
        holder.verify(token)
    except TokenError:
        return False
    return True


def test_A25_an_old_keys_token_never_gets_into_the_new_keys_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ The two-reference variant lets it in, which shows that this test can fail."""
    assert swap_while_verifying(TwoReferences, monkeypatch)
    assert not swap_while_verifying(OneReference, monkeypatch)


def test_a_verifier_with_other_keys_remembers_nothing() -> None:
    old = verifier()
    accept(honest(), old)
    new = old.with_keys(KeySet([key("RS256").verification_key]))
    refuse(honest(), "token_invalid", new)
    assert accept(honest(), old)
