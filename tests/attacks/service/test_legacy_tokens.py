"""Tokens of the application that was there before: what is accepted of them must open nothing more.

The attacker holds genuine tokens of the old application, of every kind that it made, and of this service; they may have
registered here under any name.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.forging import NOW, key, segment
from tests.features.oauth.test_token_exchange import LEGACY, OLD, exchange, moved, old_token, refused, take_in
from tests.identity.scenes import give_roles
from tests.tutorials.reading import claims
from watchword.errors import InvalidKey, SettingsError, TokenError
from watchword.settings import Settings
from watchword.tokens import KeySet, SigningKey, VerificationKey
from watchword.tokens.jwks import public_key_set
from watchword.tokens.legacy import Legacy

UNTIL = "2027-02-14"
GOOD = {"user_id": 7, "iat": NOW - 100, "exp": NOW + 900}
HEADER = {"alg": "HS256", "typ": "JWT"}


def legacy(subject: str = "user_id:id", **given: Any) -> Legacy:
    return Legacy(**{"until": UNTIL, "subject": subject, "secret": OLD, **given})


def forged(payload: dict[str, Any], header: dict[str, Any] = HEADER, secret: str | bytes = OLD) -> str:
    """Any header and payload under any secret."""
    signed = f"{segment(header)}.{segment(payload)}"
    raw = secret.encode() if isinstance(secret, str) else secret
    return f"{signed}.{segment(hmac.digest(raw, signed.encode(), 'sha256'))}"


def judged(token: str, by: Legacy | None = None, now: int = NOW) -> str:
    try:
        return (by or legacy()).verify(token, now=now).sub
    except TokenError as error:
        return error.code


def test_a_good_one_is_good() -> None:
    """Otherwise nothing below means anything."""
    assert judged(forged(GOOD)) == "7"


@pytest.mark.parametrize(
    "header",
    [
        *({"alg": name, "typ": "JWT"} for name in ("none", "None", "HS384", "HS512", "RS256", "ES256", "", None, 1)),
        {"typ": "JWT"},
        *(
            {**HEADER, "typ": typ}
            for typ in ("at+jwt", "application/at+jwt", "rt+jwt", "dpop+jwt", "", None, 1, ["JWT"])
        ),
        *({**HEADER, name: "x"} for name in ("jwk", "jku", "x5u", "x5c", "crit", "kid", "zip", "b64")),
    ],
)
def test_A6_the_header_chooses_nothing(header: dict[str, Any]) -> None:
    """Signed well with the right secret, so that only the header can be the reason."""
    assert judged(forged(GOOD, header)).startswith("token_")
    assert judged(f"{segment(header)}.{segment(GOOD)}.").startswith("token_")


def test_A6_a_public_key_is_no_secret() -> None:
    """The classic: HS256 with the public key that everyone has, in each form that it has."""
    pair = SigningKey.generate("RS256")
    by = legacy(secret=None, keys=KeySet([pair.verification_key]))
    header = {"alg": "RS256", "typ": "JWT"}
    signed = f"{segment(header)}.{segment(GOOD)}"
    assert judged(f"{signed}.{segment(pair.sign(signed.encode()))}", by) == "7"
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = pair.verification_key._material
    for form in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),  # type: ignore[union-attr]
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),  # type: ignore[union-attr]
        public_key_set([pair]),
    ):
        assert judged(forged(GOOD, secret=form), by) == "token_invalid"
    for keys in (KeySet(), KeySet([VerificationKey.shared_secret(OLD.encode())])):
        with pytest.raises(InvalidKey):
            legacy(secret=None, keys=keys)


@pytest.mark.parametrize(
    "secret",
    ["secret", "your-256-bit-secret", "mysecretkey", "shhhhh", "keyboard cat", "supersecretkey", "a" * 64,
     "0123456789ab", "your_jwt_secret_key_change_in_production", ""],
)  # fmt: skip
def test_A13_an_old_secret_that_anyone_can_guess_is_refused(secret: str) -> None:
    """Everyone could be everyone. There is no setting that allows it: people log in once more instead."""
    with pytest.raises(InvalidKey):
        legacy(secret=secret)
    with pytest.raises(SettingsError):
        Settings(**{**LEGACY, "legacy_jwt_secret": secret})  # type: ignore[arg-type]


def test_A13_a_secret_of_ours_is_no_old_one() -> None:
    """As HS256 secret and as master secret."""
    with pytest.raises(SettingsError, match="secret of this service"):
        Settings(**{**LEGACY, "jwt_secret": OLD})  # type: ignore[arg-type]
    master = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
    with pytest.raises(SettingsError, match="secret of this service"):
        Settings(**{**LEGACY, "secret": master, "legacy_jwt_secret": master})  # type: ignore[arg-type]


def test_a_short_secret_makes_the_same_key() -> None:
    """HMAC fills it up with zeros itself: what the old application signed with 16 bytes is verified."""
    assert judged(forged(GOOD, secret=OLD[:16]), legacy(secret=OLD[:16])) == "7"
    assert judged(forged(GOOD, secret=OLD[:15] + "X"), legacy(secret=OLD[:16])) == "token_invalid"
    assert judged(forged(GOOD, secret=OLD * 4), legacy(secret=OLD * 4)) == "7"


@pytest.mark.parametrize(
    "value", [1.0, 7.5, True, False, None, [7], {"id": 7}, "", " 7", "7 ", "7\n", "\u0667", "7\0", "x" * 256]
)
def test_an_id_is_a_text_or_a_whole_number(value: Any) -> None:
    """In JavaScript 1, 1.0 and true are equal; here only 7 and "7" are one id, as in an import."""
    assert judged(forged({**GOOD, "user_id": value})) == "token_invalid"


def test_numbers_and_texts_are_one_id() -> None:
    assert {judged(forged({**GOOD, "user_id": value})) for value in (7, "7")} == {"7"}
    assert judged(forged({**GOOD, "user_id": "07"})) == "07"


@pytest.mark.parametrize("claim", ["id", "sub", "userId", "username", "user"])
def test_no_other_claim_is_tried(claim: str) -> None:
    """A token without the claim names no one, whatever else is in it."""
    payload = {name: value for name, value in GOOD.items() if name != "user_id"}
    assert judged(forged({**payload, claim: "7"})) == "token_invalid"
    assert judged(forged({**payload, "user": {"user_id": 7}})) == "token_invalid"
    assert judged(forged({**payload, "user.id": 7}), legacy("user.id:id")) == "token_invalid"


@pytest.mark.parametrize(
    "more",
    [
        {"token_type": "refresh"}, {"type": "refresh"}, {"token_use": "id"}, {"typ": "Refresh"}, {"type": "reset"},
        {"type": ["access"]}, {"token_type": None}, {"token_type": 1},
        {"aud": "fastapi-users:reset"}, {"aud": ["fastapi-users:verify"]}, {"aud": 1}, {"aud": {}},
        {"exp": NOW}, {"exp": NOW - 1}, {"exp": str(NOW + 900)}, {"exp": True}, {"exp": None}, {"exp": -1},
        {"exp": 1e300},
        {"iat": NOW + 6}, {"nbf": NOW + 6}, {"iat": "now"},
    ],
)  # fmt: skip
def test_other_kinds_and_other_times(more: dict[str, Any]) -> None:
    """Refresh tokens and links in mails are signed with the same secret; of a time only a number is one."""
    assert judged(forged({**GOOD, **more})).startswith("token_")


def test_an_audience_that_is_named_must_be_there() -> None:
    by = legacy(audience="fastapi-users:auth")
    assert judged(forged({**GOOD, "aud": ["fastapi-users:auth"]}), by) == "7"
    for aud in ([], ["fastapi-users:reset"], "fastapi-users:auth2", [["fastapi-users:auth"]]):
        assert judged(forged({**GOOD, "aud": aud}), by) == "token_invalid"
    assert judged(forged(GOOD), by) == "token_invalid"


def test_the_day_ends_everything() -> None:
    """A token that never expires, and one that expires much later."""
    by = legacy()
    for payload in ({"user_id": 7}, {**GOOD, "exp": 2**40}):
        assert judged(forged(payload), by, by.until - 1) == "7"
        assert by.verify(forged(payload), now=NOW).exp == by.until
        assert judged(forged(payload), by, by.until) == "token_invalid"
    with pytest.raises(ValueError, match="180 days"):
        legacy(until="2030-01-01").require_sane(NOW)


async def test_tokens_of_this_service_are_none_of_the_old_application(tmp_path: Path) -> None:
    """Access and refresh tokens as subject_token: no session is prolonged, no second one opened."""
    async with moved(tmp_path) as api:
        form = {"grant_type": "password", "username": "ada", "password": "plum-orbit-canvas"}
        said = (await api.post("/token", data=form)).json()
        for token in (said["access_token"], said["refresh_token"]):
            await refused(api, token)
        renamed = {"typ": "JWT", "alg": "ES256", "kid": key().kid}
        await refused(api, f"{segment(renamed)}.{said['access_token'].partition('.')[2]}")


async def test_old_tokens_open_nothing_but_the_exchange(tmp_path: Path) -> None:
    """Neither a profile nor introspection, and they revoke nothing."""
    async with moved(tmp_path) as api:
        answer = await api.as_bearer("GET", "/profile", old_token(user_id=7))
        assert answer.status_code == 401


async def test_a_username_that_is_someone_elses_address(tmp_path: Path) -> None:
    """A name is looked up among usernames alone: eve called herself `ada@example.com` in the old application."""
    async with moved(tmp_path, legacy_subject="sub:username") as api:
        await refused(api, old_token(sub="ada@example.com"))
        await refused(api, old_token(sub="7"))


async def test_who_registers_under_an_old_name_gets_no_one_elses_session(tmp_path: Path) -> None:
    """Neither by registering it, nor by taking it over from a user who was imported."""
    async with moved(tmp_path, legacy_subject="sub:username") as api:
        await refused(api, old_token(sub="newcomer"))
        api.clock.advance(1)
        ada, bob = await api.elsewhere().log_in("ada"), await api.elsewhere().log_in("bob")
        for token, name in ((ada, "ada-2"), (bob, "ada")):
            answer = await api.as_bearer("PATCH", "/profile", token, json={"username": name})
            assert answer.status_code == 200, answer.text
        await refused(api, old_token(sub="ada"))
        await refused(api, old_token(sub="bob"))


async def test_users_who_were_never_in_the_old_application(tmp_path: Path) -> None:
    """Anyone with the old secret can name them; administrators of the new service are among them."""
    async with moved(tmp_path, keep_ids=True, legacy_subject="user_id:id") as api:
        newcomer = (await api.register())["id"]
        await refused(api, old_token(user_id=newcomer))
        assert (await exchange(api, old_token(user_id=7))).status_code == 200


async def test_a_kind_is_not_mistaken_for_another(tmp_path: Path) -> None:
    """An old id that reads like someone's id here, and the prefixes that guards see."""
    async with moved(tmp_path) as api:
        known = await api.kernel.users.find_external("7")
        assert known is not None
        await refused(api, old_token(user_id=known.id))
        await refused(api, old_token(user_id="external:7"))
        await take_in(api, "external:7", "eve")
        held = claims((await exchange(api, old_token(user_id="external:7"))).json()["access_token"])
        eve = await api.kernel.users.find_external("external:7")
        assert eve is not None
        assert held["sub"] == eve.id


async def test_revocation_holds_in_another_process_too(tmp_path: Path) -> None:
    """The row decides, not what this process has heard."""
    async with moved(tmp_path) as api:
        user = await api.kernel.users.find_external("7")
        assert user is not None
        await give_roles(api.kernel, user.id, ())
        api.kernel.revocations.refused = type(api.kernel.revocations.refused)()
        await refused(api, old_token(user_id=7))


@pytest.mark.parametrize("claim", ["ROOT", "root", "Ｒｏｏｔ", " Root", "Root ", "username:Root", "Root\u200b"])
async def test_a_name_that_only_looks_alike_is_someone_elses(tmp_path: Path, claim: str) -> None:
    """⚑ The old application told `root` from `Root`: a token of the one opened a session of the other."""
    async with moved(tmp_path, legacy_subject="sub:username") as api:
        await take_in(api, "9", "Root")
        assert (await exchange(api, old_token(sub="Root"))).status_code == 200
        await refused(api, old_token(sub=claim))
