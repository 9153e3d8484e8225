"""The largest token that can be set up fits what our own verifiers read, and nothing fails after a rotation (A4)."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.identity.scenes import (
    HOME,
    Opener,
    change_password,
    claims_of,
    everything,
    give_roles,
    join,
    log_in,
    meddle,
    proven,
    recorded,
    refresh,
)
from watchword.clock import FixedClock
from watchword.errors import Forbidden, InvalidInput, SettingsError, StorageUnavailable, TokenError
from watchword.identity import own_claims, roles
from watchword.identity.issuing import AccessGrant, TokenIssuer
from watchword.identity.kernel import Kernel
from watchword.identity.keys.ring import KeyRing
from watchword.identity.scopes import MOST_TEXT
from watchword.identity.service_accounts.account import new_account_id
from watchword.identity.service_accounts.exchanging import MOST_ACTORS
from watchword.ids import new_id
from watchword.settings import Settings
from watchword.settings.rules import LONGEST_AUDIENCE, LONGEST_ISSUER
from watchword.settings.scopes import LONGEST_ROLE
from watchword.tokens.claims import MAX_TIME
from watchword.tokens.compact import MAX_TOKEN
from watchword.tokens.keys import SigningKey
from watchword.tokens.verify import Policy, Verifier

MOST = tuple(f"{number:02}".ljust(LONGEST_ROLE, "r") for number in range(roles.MOST_ROLES))
OWN = {"tenant": "\U0001f511" * 154, "plan": "p"}
# Four bytes a character, or two for one that JSON escapes: the most that an audience of this length can take.
AUDIENCES = ("\U0001f511" * LONGEST_AUDIENCE, '"\\' * (LONGEST_AUDIENCE // 2))


KEYS = {
    "ES256": lambda: SigningKey.generate("ES256"),
    "EdDSA": lambda: SigningKey.generate("EdDSA"),
    "Ed25519": lambda: SigningKey.generate("Ed25519"),
    "HS256": lambda: SigningKey.shared_secret(os.urandom(64), "HS256"),
    "RS256-4096": lambda: SigningKey(rsa.generate_private_key(65537, 4096), "RS256"),
    "PS256-4096": lambda: SigningKey(rsa.generate_private_key(65537, 4096), "PS256"),
}


class _Ring:
    def __init__(self, key: SigningKey) -> None:
        self.ring = KeyRing(key, (key.verification_key,), published=())


@pytest.mark.parametrize("audience", AUDIENCES, ids=["wide", "escaped"])
@pytest.mark.parametrize("name", KEYS)
def test_the_largest_token_that_can_be_set_up_is_read_by_our_own_verifier(
    name: str, audience: str, tmp_path: Path
) -> None:
    """Longest issuer and audience, most and longest roles, all scopes and own claims that fit, largest numbers, largest
    key."""
    url = "https://auth.example.com/" + "p" * (LONGEST_ISSUER - 25)
    settings = Settings(public_url=url, trusted_proxies=1, audience=audience, data_dir=tmp_path)
    key = KEYS[name]()
    ring = _Ring(key)
    grant = AccessGrant(
        new_id(), new_id(), "watchword", "s" * MOST_TEXT, MOST, MAX_TIME, auth_time=2**40, amr=("pwd",),
        issued_at=2**40, not_after=2**40 + 86_400, audience=audience, rights=MAX_TIME, claims=OWN,
    )  # fmt: skip
    assert len(msgspec.json.encode(OWN)) == own_claims.MOST_BYTES
    issuer = TokenIssuer(ring, settings)  # type: ignore[arg-type]  # all that it asks for
    token = issuer.access_token(grant, key)
    assert len(token) <= MAX_TOKEN
    act: dict[str, object] = {}
    for _ in range(MOST_ACTORS):
        act = {"sub": new_account_id(), "ver": MAX_TIME} | ({"act": act} if act else {})
    acting = grant._replace(client_id=new_account_id(), roles=(), act=act)
    assert len(issuer.access_token(acting, key)) <= len(token), "who acts takes the place of roles"
    policy = Policy(issuer=url, audience=settings.audience, algorithms=(key.algorithm,), max_lifetime=86_400)
    claims = Verifier(policy, ring.ring.key_set).verify(token, now=2**40 + 1)
    assert claims.roles == set(MOST)
    assert claims.extra == OWN


@pytest.mark.parametrize(
    "given",
    [{"public_url": "https://auth.example.com/" + "p" * LONGEST_ISSUER}, {"audience": "a" * (LONGEST_AUDIENCE + 1)},
     {"path_prefix": "/" + "p" * LONGEST_ISSUER}],
    ids=["public_url", "audience", "path_prefix"],
)  # fmt: skip
def test_an_issuer_or_audience_that_no_verifier_reads_is_refused_when_it_is_set(
    given: dict[str, str], tmp_path: Path
) -> None:
    """Embedded or from the environment: the settings go through one check."""
    with pytest.raises(SettingsError, match="characters"):
        Settings(data_dir=tmp_path, **given)  # type: ignore[arg-type]


async def test_roles_are_bounded_when_they_are_set(kernel: Kernel) -> None:
    """By the library function that the command calls, and when a user is made: the error says how many."""
    user = await join(kernel)
    await give_roles(kernel, user.id, MOST)
    before = await everything(kernel)
    for too_much in ((*MOST, "one-more"), ("r" * 65,), ("two words",), ("",), ("ä",)):
        with pytest.raises(InvalidInput):
            await give_roles(kernel, user.id, too_much)
        with pytest.raises(InvalidInput):
            await join(kernel, "bob", roles=too_much)
    assert await everything(kernel) == before
    assert claims_of(kernel, await log_in(kernel)).roles == set(MOST)


@pytest.mark.sqlite
async def test_more_roles_than_fit_burn_no_refresh_token(kernel: Kernel) -> None:
    """A row of an older version: log-in and refresh are refused before anything is stored, and go on when it is set
    right."""
    user = await join(kernel)
    token = (await log_in(kernel)).tokens.refresh_token
    meddle(kernel, "UPDATE ww_users SET roles = '" + " ".join(f"role-{n}" for n in range(120)) + "'")
    before = await everything(kernel)
    with pytest.raises(Forbidden) as caught:
        await refresh(kernel, token)
    assert caught.value.code == "too_many_roles"
    with pytest.raises(Forbidden):
        await log_in(kernel)
    assert await everything(kernel) == before
    await give_roles(kernel, user.id, ("reader",))
    assert claims_of(kernel, await refresh(kernel, token)).roles == {"reader"}


async def test_a_key_that_goes_between_commit_and_answer_does_not_lose_the_answer(kernel: Kernel) -> None:
    """The key is taken before the rotation is stored, and signs what comes of it."""
    await join(kernel)
    token = (await log_in(kernel)).tokens.refresh_token
    live = await kernel.sessions.rotate(token, client_id="watchword", client=HOME)
    kernel.keys.ring = KeyRing(SigningKey.generate("ES256"), ())  # published no more, as after an emergency
    with pytest.raises(StorageUnavailable):
        kernel.issuer.require_key()
    assert kernel.sessions.sign(live).access_token.count(".") == 2


@pytest.mark.sqlite
async def test_a_list_that_cannot_be_read_after_the_commit_does_not_lose_the_answer(
    open_kernel: Opener, clock: FixedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password change is stored: the caller gets the tokens, this process refuses the old ones at once, and the next
    poll reads the list."""
    async with open_kernel() as kernel:
        user = await join(kernel)
        old = await log_in(kernel)
        caller = claims_of(kernel, old)
        candidate = await kernel.login.confirm(user.id, proven, client=HOME)
        broken = kernel.database._reader  # type: ignore[attr-defined]
        kernel.database._reader = None  # type: ignore[attr-defined]

        def no_reader() -> None:
            raise StorageUnavailable("The disk does not answer.")

        monkeypatch.setattr(kernel.database, "_reopened", no_reader)
        again = await change_password(kernel, caller, candidate, "$argon2id$new", client=HOME, client_id="watchword")
        claims_of(kernel, again)
        with pytest.raises(TokenError):
            claims_of(kernel, old)
        monkeypatch.undo()
        kernel.database._reader = broken  # type: ignore[attr-defined]
        assert await kernel.revocations.poll() is True
        (entry,) = await recorded(kernel, "ww_revocations")
        assert (entry["kind"], entry["subject"]) == ("user", user.id)
