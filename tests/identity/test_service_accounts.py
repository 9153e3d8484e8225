"""Service accounts: how they prove who they are, what they get, and what ends it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.identity.scenes import HOME, HOUR, Opener, recorded
from tests.identity.test_rights import ORDERS, define
from watchword import opaque
from watchword.errors import Conflict, InvalidInput, NotFound, Refused, TokenError, TooManyAttempts
from watchword.identity.administration import unchecked
from watchword.identity.api_keys import Exchanged
from watchword.identity.arrivals import Record, arrival_of
from watchword.identity.arrivals import Refused as Unfit
from watchword.identity.audit import LOCAL
from watchword.identity.granting import Operation
from watchword.identity.kernel import Kernel
from watchword.identity.service_accounts import accounts
from watchword.identity.service_accounts.account import Account, Shown
from watchword.identity.service_accounts.accounts import NewAccount
from watchword.tokens.claims import AccessClaims

BILLING = "https://billing.example"
BY = Operation(LOCAL, None, unchecked)


async def made(kernel: Kernel, *scopes: str, name: str = "nightly", **more: Any) -> tuple[Account, Shown]:
    wanted = NewAccount(name, scopes or ("jobs:run", "read"), **more)
    account, secret = await kernel.service_accounts.create(wanted, client=HOME)
    return account, Shown(account.id, secret)


async def issued(kernel: Kernel, shown: Shown, scope: str | None = None, resource: str | None = None) -> Exchanged:
    account = await kernel.proving.prove(shown, client=HOME)
    return await kernel.account_tokens.issue(account, scope, resource, client=HOME)


async def token(kernel: Kernel, shown: Shown, scope: str | None = None, resource: str | None = None) -> str:
    return (await issued(kernel, shown, scope, resource)).access_token


async def refused(kernel: Kernel, shown: Shown, code: str = "invalid_client", **asked: str) -> None:
    with pytest.raises(Refused) as caught:
        await issued(kernel, shown, **asked)
    assert caught.value.code == code


def read(kernel: Kernel, text: str) -> AccessClaims:
    return kernel.verifier.verify_for_any(text)


async def test_a_token_of_its_own_says_that_no_person_is_behind_it(kernel: Kernel) -> None:
    account, shown = await made(kernel)
    found = await issued(kernel, shown)
    claims = read(kernel, found.access_token)
    assert (claims.sub, claims.client_id, claims.ver) == (account.id, account.id, 1)
    assert account.id.startswith("wwc_")
    assert (claims.scopes, claims.roles, claims.amr) == ({"jobs:run", "read"}, frozenset(), ())
    assert (claims.auth_time, found.expires_in, found.scope) == (None, 900, "jobs:run read")


async def test_scopes_never_grow(kernel: Kernel) -> None:
    """⚑ A client gets what it was made with, whatever it asks for and whatever roles give."""
    await define(kernel, ("*", "write"))
    _, shown = await made(kernel)
    assert (await issued(kernel, shown, "read")).scope == "read"
    for scope in ("write", "read write", "read  jobs:run", "*", "read\nwrite"):
        await refused(kernel, shown, "invalid_scope", scope=scope)


async def test_the_secret_is_stored_as_a_hash_only(kernel: Kernel) -> None:
    _, shown = await made(kernel)
    (row,) = await recorded(kernel, "ww_clients")
    assert row["secret_hash"] == opaque.fingerprint(str(shown.secret).encode())
    assert str(shown.secret) not in str(row)


async def test_every_wrong_proof_gets_one_answer(kernel: Kernel) -> None:
    """⚑ Unknown, disabled, a wrong secret, no secret, an assertion without a key."""
    account, shown = await made(kernel)
    other, _ = await made(kernel, name="other")
    await kernel.service_accounts.disable("other", client=HOME)
    unknown = f"wwc_{account.id[4:-1]}{'0' if account.id[-1] != '0' else '1'}"
    texts = set()
    for wrong in (
        Shown(unknown, shown.secret), Shown(account.id, f"{str(shown.secret)[:-1]}~"), Shown(account.id, ""),
        Shown(account.id), Shown(account.id, assertion="e30.e30.e30"), Shown(other.id, shown.secret), Shown("", "x"),
        Shown("wwc_'; --", "x"), Shown(account.id, "wws_" + "é" * 43), Shown(account.id.upper(), shown.secret),
    ):  # fmt: skip
        with pytest.raises(Refused) as caught:
            await kernel.proving.prove(wrong, client=HOME)
        texts.add((caught.value.code, str(caught.value)))
    assert len(texts) == 1
    assert await kernel.proving.prove(shown, client=HOME) == account


async def test_no_imported_user_can_have_the_id_of_an_account(kernel: Kernel) -> None:
    """⚑ RFC 9700 section 4.15: a `sub` is either a user's or a client's."""
    account, _ = await made(kernel)
    for taken in (account.id, "watchword", "api_key"):
        record = Record(id=taken, username="mallory")
        with pytest.raises(Unfit):
            arrival_of(record, now=kernel.clock.now(), keep_ids=True)


async def test_it_gets_tokens_for_its_apis_only(kernel: Kernel) -> None:
    """⚑ Confused deputy: without `--api`, the service's own audience; with it, nothing else."""
    await define(kernel, apis=(("orders", ORDERS, "read"), ("billing", BILLING, "read pay")))
    _, own = await made(kernel)
    assert read(kernel, await token(kernel, own)).aud == (kernel.settings.audience,)
    assert read(kernel, await token(kernel, own, None, kernel.settings.audience)).scopes == {"jobs:run", "read"}
    await refused(kernel, own, "invalid_target", resource=ORDERS)
    _, one = await made(kernel, name="one", apis=("orders",))
    claims = read(kernel, await token(kernel, one))
    assert (claims.aud, claims.scopes) == ((ORDERS,), {"read"})
    await refused(kernel, one, "invalid_target", resource=kernel.settings.audience)
    await refused(kernel, one, "invalid_target", resource=BILLING)
    await refused(kernel, one, "invalid_target", resource="https://nowhere.example")
    await refused(kernel, one, "invalid_scope", scope="jobs:run")
    _, two = await made(kernel, name="two", apis=("orders", "billing"))
    await refused(kernel, two, "invalid_target")
    assert read(kernel, await token(kernel, two, None, BILLING)).aud == (BILLING,)
    _, none = await made(kernel, "other:scope", name="none", apis=("orders",))
    await refused(kernel, none, "invalid_scope")


async def test_its_own_audience_may_be_a_registered_api(kernel: Kernel) -> None:
    await define(kernel, apis=(("main", kernel.settings.audience, "read"),))
    _, shown = await made(kernel)
    assert read(kernel, await token(kernel, shown)).scopes == {"read"}
    assert (await issued(kernel, shown, resource=kernel.settings.audience)).scope == "read"


async def test_disabling_refuses_the_account_and_its_tokens_until_new_ones(kernel: Kernel) -> None:
    _, shown = await made(kernel)
    _, other = await made(kernel, name="other")
    before, kept = await token(kernel, shown), await token(kernel, other)
    await kernel.service_accounts.disable("nightly", client=HOME)
    with pytest.raises(TokenError):
        read(kernel, before)
    await refused(kernel, shown)
    await kernel.service_accounts.enable("nightly", client=HOME)
    with pytest.raises(TokenError):
        read(kernel, before)
    read(kernel, await token(kernel, shown))
    read(kernel, kept)
    with pytest.raises(NotFound):
        await kernel.service_accounts.enable("nightly", client=HOME)


async def test_an_account_disabled_after_its_proof_gets_a_token_that_is_worth_nothing(kernel: Kernel) -> None:
    """⚑ The token has the version that was read, and the entry refuses it: whichever comes first."""
    _, shown = await made(kernel)
    account = await kernel.proving.prove(shown, client=HOME)
    await kernel.service_accounts.disable("nightly", client=HOME)
    late = await kernel.account_tokens.issue(account, None, None, client=HOME)
    with pytest.raises(TokenError):
        read(kernel, late.access_token)


async def test_a_deleted_account_is_gone_with_its_tokens(kernel: Kernel) -> None:
    _, shown = await made(kernel)
    before = await token(kernel, shown)
    await kernel.service_accounts.delete("nightly", client=HOME)
    with pytest.raises(TokenError):
        read(kernel, before)
    await refused(kernel, shown)
    again, _ = await made(kernel)
    assert again.id != shown.client_id


async def test_secrets_overlap_for_as_long_as_is_said(kernel: Kernel) -> None:
    account, former = await made(kernel)
    before = await token(kernel, former)
    _, fresh = await kernel.service_accounts.rotate_secret("nightly", overlap=HOUR, client=HOME)
    kernel.clock.advance(HOUR - 1)  # type: ignore[attr-defined]
    await kernel.proving.prove(former, client=HOME)
    await kernel.proving.prove(Shown(account.id, fresh), client=HOME)
    kernel.clock.advance(1)  # type: ignore[attr-defined]
    await refused(kernel, former)
    read(kernel, await token(kernel, Shown(account.id, fresh)))
    assert before != fresh


async def test_rotating_once_more_within_the_overlap_ends_the_oldest_secret(kernel: Kernel) -> None:
    """⚑ Two secrets at most; and ending the second one at once ends both that were before."""
    account, first = await made(kernel)
    secrets = [first]
    for overlap in (HOUR, HOUR, 0):
        _, text = await kernel.service_accounts.rotate_secret("nightly", overlap=overlap, client=HOME)
        secrets.append(Shown(account.id, text))
        for good in secrets[-2:] if overlap else secrets[-1:]:
            await kernel.proving.prove(good, client=HOME)
        for ended in secrets[:-2] if overlap else secrets[:-1]:
            await refused(kernel, ended)


async def test_without_an_overlap_the_former_secret_and_its_tokens_end_at_once(kernel: Kernel) -> None:
    account, former = await made(kernel)
    before = await token(kernel, former)
    _, fresh = await kernel.service_accounts.rotate_secret("nightly", overlap=0, client=HOME)
    with pytest.raises(TokenError):
        read(kernel, before)
    await refused(kernel, former)
    read(kernel, await token(kernel, Shown(account.id, fresh)))
    with pytest.raises(NotFound):
        await kernel.service_accounts.rotate_secret("none", overlap=0, client=HOME)
    for overlap in (-1, accounts.MOST_OVERLAP + 1):
        with pytest.raises(InvalidInput):
            await kernel.service_accounts.rotate_secret("nightly", overlap=overlap, client=HOME)


async def test_a_scope_that_an_api_knows_no_more_is_refused_though_no_role_gave_it(kernel: Kernel) -> None:
    """⚑ Only the account has `pay`: the change of the API refuses it all the same."""
    api = await kernel.granting.create_api("billing", BILLING, frozenset(("pay", "read")), BY)
    _, shown = await made(kernel, "pay", "read", apis=("billing",))
    before = await token(kernel, shown)
    await kernel.granting.change_api("billing", audience=None, change=lambda _: frozenset(("read",)), by=BY)
    with pytest.raises(TokenError):
        read(kernel, before)
    after = await token(kernel, shown)
    assert read(kernel, after).scopes == {"read"}
    await kernel.granting.delete_api(api.name, BY)
    with pytest.raises(TokenError):
        read(kernel, after)
    await refused(kernel, shown, "invalid_target")


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (NewAccount("a b", ("read",)), InvalidInput),
        (NewAccount("", ("read",)), InvalidInput),
        (NewAccount("n" * 65, ("read",)), InvalidInput),
        (NewAccount("api_key", ("read",)), InvalidInput),
        (NewAccount("API_Key", ("read",)), InvalidInput),
        (NewAccount("watchword", ("read",)), InvalidInput),
        (NewAccount("wwc_019acb2e", ("read",)), InvalidInput),
        (NewAccount("nightly", ()), InvalidInput),
        (NewAccount("nightly", ("re ad",)), InvalidInput),
        (NewAccount("nightly", ("read",), apis=("none",)), NotFound),
        (NewAccount("nightly", ("read",), public_key="garbage"), InvalidInput),
        (NewAccount("taken", ("read",)), Conflict),
    ],
)
async def test_accounts_that_cannot_be(kernel: Kernel, wanted: NewAccount, error: type[Exception]) -> None:
    await made(kernel, name="taken")
    with pytest.raises(error):
        await kernel.service_accounts.create(wanted, client=HOME)


async def test_there_is_an_end_to_their_number(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounts, "MOST_ACCOUNTS", 2)
    await made(kernel, name="one")
    await made(kernel, name="two")
    with pytest.raises(InvalidInput):
        await made(kernel, name="three")
    assert [each.name for each in await kernel.service_accounts.all()] == ["one", "two"]


async def test_one_token_can_be_refused_alone(kernel: Kernel) -> None:
    _, shown = await made(kernel)
    first, second = read(kernel, await token(kernel, shown)), read(kernel, await token(kernel, shown))
    await kernel.account_tokens.revoke(first)
    assert not await kernel.account_tokens.is_live(first)
    assert await kernel.account_tokens.is_live(second)


async def test_records_say_which_account(kernel: Kernel) -> None:
    """One an hour of each outcome, however many tokens there are."""
    account, shown = await made(kernel)
    for _ in range(3):
        await issued(kernel, shown)
        await refused(kernel, Shown(account.id, "wrong"))
    used = [row for row in await recorded(kernel, "ww_audit") if row["event"] == "client_used"]
    assert sorted((row["outcome"], row["detail"]) for row in used) == [
        ("ok", f'{{"client":"{account.id}"}}'),
        ("refused", f'{{"client":"{account.id}"}}'),
    ]
    kernel.clock.advance(HOUR)  # type: ignore[attr-defined]
    await issued(kernel, shown)
    assert (await kernel.service_accounts.all())[0].last_used_at == kernel.clock.now()


async def test_a_limit_that_is_used_up_is_recorded_with_its_account(open_kernel: Opener) -> None:
    async with open_kernel(client_limit="1/1h") as kernel:
        account, shown = await made(kernel)
        await issued(kernel, shown)
        with pytest.raises(TooManyAttempts):
            await issued(kernel, shown)
        (row,) = [row for row in await recorded(kernel, "ww_audit") if row["event"] == "limit_reached"]
        assert (row["outcome"], row["user_id"]) == ("client", account.id)


async def test_many_at_once(kernel: Kernel) -> None:
    _, shown = await made(kernel)
    found = await asyncio.gather(*(token(kernel, shown) for _ in range(20)))
    assert len({read(kernel, each).jti for each in found}) == len(found)
