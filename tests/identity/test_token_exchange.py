"""Token exchange: an API calls another for a user, with no more than it was given, and no longer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.identity.scenes import HOME, MINUTE, claims_of, give_roles, join, log_in, operator, recorded
from tests.identity.test_rights import ORDERS
from tests.identity.test_service_accounts import BILLING, BY, made
from watchword.errors import Refused, TokenError
from watchword.identity.api_keys import NewKey
from watchword.identity.kernel import Kernel
from watchword.identity.rights import EVERYTHING
from watchword.identity.service_accounts.account import Account
from watchword.identity.service_accounts.accounts import ServiceAccounts
from watchword.identity.service_accounts.exchanging import LONGEST, MOST_ACTORS
from watchword.tokens.claims import AccessClaims

STORE = "https://store.example"


class Chain:
    """A user, who is logged in for `orders`, which may call `billing`, which may call `store`."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.user_id = self.token = ""
        self.accounts: dict[str, Account] = {}

    async def begin(self) -> None:
        granting = self.kernel.granting
        await granting.set_scopes("*", lambda _: frozenset(("read", "pay", "ship")), BY)
        for name, audience, known in (("orders", ORDERS, "read pay"), ("billing", BILLING, "read pay ship"),
                                      ("store", STORE, "read ship")):  # fmt: skip
            await granting.create_api(name, audience, frozenset(known.split()), BY)
        for name, serves, to in (
            ("orders", "orders", "billing store"), ("billing", "billing", "store orders"),
            ("store", "store", "billing"), ("page", None, "orders"), ("idle", "orders", ""),
        ):  # fmt: skip
            self.accounts[name], _ = await made(
                self.kernel, "own", name=name, serves=serves, exchanges=tuple(to.split())
            )
        self.user_id = (await join(self.kernel, roles=("editor",))).id
        self.token = (await log_in(self.kernel, asked=self.kernel.rights.asked(None, ORDERS))).tokens.access_token

    async def exchange(
        self, by: str = "orders", to: str | None = BILLING, *, scope: str | None = None, token: str | None = None
    ) -> str:
        account, shown = self.accounts[by], self.token if token is None else token
        found = await self.kernel.exchanging.exchange(account, shown, scope, to, client=HOME)
        assert found.expires_in > 0
        return found.access_token

    async def refused(self, code: str, by: str = "orders", to: str | None = BILLING, **asked: Any) -> None:
        with pytest.raises(Refused) as caught:
            await self.exchange(by, to, **asked)
        assert caught.value.code == code

    def read(self, token: str) -> AccessClaims:
        return self.kernel.verifier.verify_for_any(token)


@pytest.fixture
async def chain(kernel: Kernel) -> Chain:
    made = Chain(kernel)
    await made.begin()
    return made


async def test_the_new_token_is_the_users_and_says_who_acts(chain: Chain) -> None:
    subject, found = chain.read(chain.token), chain.read(await chain.exchange())
    assert (found.sub, found.sid, found.ver) == (subject.sub, subject.sid, subject.ver)
    assert (found.auth_time, found.amr) == (subject.auth_time, subject.amr)
    assert (found.aud, found.scopes) == ((BILLING,), {"read", "pay"})
    assert found.client_id == chain.accounts["orders"].id
    assert found.extra["act"] == {"sub": chain.accounts["orders"].id, "ver": 1}
    assert found.roles == frozenset()
    assert subject.roles == {"editor"}


async def test_scopes_never_grow(chain: Chain) -> None:
    """⚑ Not by what the other API knows, nor by what the user has elsewhere, nor by what the client has."""
    assert chain.read(await chain.exchange(scope="pay")).scopes == {"pay"}
    for scope in ("ship", "pay ship", "own", "unknown", "read  pay"):
        await chain.refused("invalid_scope", scope=scope)
    narrow = await chain.exchange(scope="pay")
    assert chain.read(await chain.exchange("billing", STORE, token=narrow)).scopes == frozenset()
    await chain.refused("invalid_scope", "billing", STORE, token=narrow, scope="read")


async def test_only_another_api_that_was_named_for_the_client(chain: Chain) -> None:
    """⚑ Not its own, not one that it may not call, not the service itself, not none."""
    own = chain.kernel.settings.audience
    for to in (ORDERS, own, None, "", "https://none.example", BILLING.upper(), f"{BILLING}/"):
        await chain.refused("invalid_target", to=to)
    await chain.refused("unauthorized_client", "idle")


async def test_the_service_is_no_target_even_where_it_is_an_api(chain: Chain) -> None:
    """⚑ An exchanged token never opens what is for the user alone."""
    own = chain.kernel.settings.audience
    await chain.kernel.granting.create_api("main", own, frozenset(("read",)), BY)
    chain.accounts["eager"], _ = await made(chain.kernel, "own", name="eager", serves="orders", exchanges=("main",))
    fresh = (await log_in(chain.kernel, asked=chain.kernel.rights.asked(None, ORDERS))).tokens.access_token
    await chain.refused("invalid_target", "eager", own, token=fresh)


async def test_a_token_that_was_sent_to_another_api_is_not_accepted(chain: Chain) -> None:
    """⚑ A client that overhears a token for `orders` gains nothing by it."""
    await chain.refused("invalid_request", "billing", STORE)
    await chain.refused("invalid_request", "page", ORDERS)
    plain = (await log_in(chain.kernel)).tokens.access_token
    await chain.refused("invalid_request", token=plain)
    assert chain.read(await chain.exchange("page", ORDERS, token=plain)).aud == (ORDERS,)


async def test_it_never_lives_longer_than_what_was_shown(chain: Chain) -> None:
    end = chain.read(chain.token).exp
    now = chain.kernel.clock.now()
    assert chain.read(await chain.exchange()).exp == now + LONGEST
    chain.kernel.clock.advance(end - now - 1)  # type: ignore[attr-defined]
    late = await chain.exchange()
    assert chain.read(late).exp == end
    chain.kernel.clock.advance(1)  # type: ignore[attr-defined]
    await chain.refused("invalid_request")
    with pytest.raises(TokenError):
        chain.read(late)


async def test_actors_stand_one_in_the_other(chain: Chain) -> None:
    second = await chain.exchange("billing", STORE, token=await chain.exchange())
    claims = chain.read(second)
    ids = {name: account.id for name, account in chain.accounts.items()}
    assert claims.extra["act"] == {"sub": ids["billing"], "ver": 1, "act": {"sub": ids["orders"], "ver": 1}}
    assert claims.scopes == {"read"}


async def test_their_number_has_an_end(chain: Chain) -> None:
    token = await chain.exchange()
    for number in range(MOST_ACTORS - 1):
        by, to = (("billing", STORE), ("store", BILLING))[number % 2]
        token = await chain.exchange(by, to, token=token)
    by, to = (("billing", STORE), ("store", BILLING))[(MOST_ACTORS - 1) % 2]
    await chain.refused("invalid_request", by, to, token=token)


Ending = Callable[[Chain], Any]
ENDINGS: dict[str, Ending] = {
    "session": lambda c: c.kernel.sessions.log_out(claims=c.read(c.token), presented=None, client=HOME),
    "disabled": lambda c: operator(c.kernel).disable(c.user_id),
    "roles": lambda c: give_roles(c.kernel, c.user_id, ("other",)),
    "api": lambda c: c.kernel.granting.delete_api("billing", BY),
    "scope": lambda c: c.kernel.granting.set_scopes("*", lambda _: frozenset(("read",)), BY),
}


@pytest.mark.parametrize("ending", ["session", "disabled", "roles"])
async def test_whatever_ends_the_token_ends_what_came_of_it(chain: Chain, ending: str) -> None:
    """⚑ A revoked subject token yields nothing, and what it yielded before is refused with it."""
    first = await chain.exchange()
    second = await chain.exchange("billing", STORE, token=first)
    await ENDINGS[ending](chain)
    for token in (first, second):
        with pytest.raises(TokenError):
            chain.read(token)
    await chain.refused("invalid_request")
    await chain.refused("invalid_request", "billing", STORE, token=first)


CLIENT_ENDINGS: dict[str, Callable[[ServiceAccounts, str], Any]] = {
    "disabled": lambda accounts, name: accounts.disable(name, client=HOME),
    "deleted": lambda accounts, name: accounts.delete(name, client=HOME),
    "secret ended": lambda accounts, name: accounts.rotate_secret(name, overlap=0, client=HOME),
}


@pytest.mark.parametrize("ending", CLIENT_ENDINGS)
@pytest.mark.parametrize("name", ["orders", "billing"])
async def test_what_ends_a_client_ends_the_tokens_by_which_it_acts(chain: Chain, ending: str, name: str) -> None:
    """⚑ Also those that another client got on the strength of one. The user's own token, and others', go on."""
    first, beside = await chain.exchange(), await chain.exchange("store", BILLING, token=await chain.exchange(to=STORE))
    second = await chain.exchange("billing", STORE, token=first)
    await CLIENT_ENDINGS[ending](chain.kernel.service_accounts, name)
    for token in (second,) if name == "billing" else (first, second, beside):
        with pytest.raises(TokenError) as caught:
            chain.read(token)
        assert caught.value.code == "token_revoked"
    for token in (chain.token, *((first, beside) if name == "billing" else ())):
        chain.read(token)


async def test_a_client_that_is_disabled_after_its_proof_acts_for_no_one(chain: Chain) -> None:
    """⚑ The token has the version that was read, and the entry refuses it: whichever comes first."""
    await chain.kernel.service_accounts.disable("orders", client=HOME)
    late = await chain.exchange()
    with pytest.raises(TokenError):
        chain.read(late)
    await chain.kernel.service_accounts.enable("orders", client=HOME)
    with pytest.raises(TokenError):
        chain.read(late)


@pytest.mark.parametrize("ending", ["api", "scope"])
async def test_rights_that_are_taken_away_are_gone_in_exchanged_tokens(chain: Chain, ending: str) -> None:
    first = await chain.exchange()
    await ENDINGS[ending](chain)
    with pytest.raises(TokenError):
        chain.read(first)


async def test_only_a_persons_access_token_is_exchanged(chain: Chain) -> None:
    """⚑ No refresh token, no token of an API key or of a client, none of another kind, nothing forged."""
    kernel = chain.kernel
    tokens = (await log_in(kernel, asked=kernel.rights.asked(None, ORDERS))).tokens
    _, key = await kernel.api_keys.create(
        claims_of(kernel, await log_in(kernel)), NewKey("k", kernel.rights.asked(None, ORDERS), MINUTE), client=HOME
    )
    by_key = (await kernel.api_keys.exchange(key, EVERYTHING, client=HOME)).access_token
    account, _ = await made(kernel, "read", name="program", apis=("orders",))
    own = (await kernel.account_tokens.issue(account, None, None, client=HOME)).access_token
    head, body, signature = chain.token.split(".")
    for wrong in (
        tokens.refresh_token,
        key,
        by_key,
        own,
        "",
        "a.b.c",
        f"{head}.{body}.",
        f"{head}.{body}.{signature[:-4]}AAAA",
    ):
        await chain.refused("invalid_request", token=wrong)
    assert await chain.exchange(token=tokens.access_token)


async def test_an_api_that_is_registered_anew_is_another_one(chain: Chain) -> None:
    await chain.kernel.granting.delete_api("billing", BY)
    await chain.kernel.granting.create_api("billing", BILLING, frozenset(("read",)), BY)
    await chain.refused("invalid_target")


async def test_records_say_which_client_called_which_api_for_whom(chain: Chain) -> None:
    for _ in range(3):
        await chain.exchange()
    (row,) = [row for row in await recorded(chain.kernel, "ww_audit") if row["event"] == "token_exchanged"]
    assert (row["user_id"], row["session_id"]) == (chain.user_id, chain.read(chain.token).sid)
    assert chain.accounts["orders"].id in row["detail"]
