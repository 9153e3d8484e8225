"""API keys: what they are exchanged for, and what ends them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.identity.scenes import (
    HOME,
    HOUR,
    MINUTE,
    Opener,
    claims_of,
    give_roles,
    join,
    log_in,
    operator,
    recorded,
    reset_password,
)
from tests.identity.test_rights import ORDERS, define
from watchword import api_keys as written
from watchword.errors import Conflict, InvalidInput, NotFound, Refused, TokenError, TooManyAttempts, Unauthenticated
from watchword.identity import api_keys
from watchword.identity.administration import unchecked
from watchword.identity.api_keys import KeyRecord, NewKey
from watchword.identity.kernel import Kernel
from watchword.identity.rights import EVERYTHING, Asked
from watchword.identity.sweeping import sweep
from watchword.tokens.claims import AccessClaims

DAY = 86_400


class Owner:
    """A user who is logged in."""

    def __init__(self, kernel: Kernel, user_id: str, claims: AccessClaims) -> None:
        self.kernel, self.id, self.claims = kernel, user_id, claims

    async def key(self, scope: str | None = None, resource: str | None = None, **how: Any) -> tuple[KeyRecord, str]:
        asked = self.kernel.rights.asked(scope, resource)
        wanted = NewKey(how.get("name", "nightly"), asked, how.get("seconds", DAY))
        return await self.kernel.api_keys.create(self.claims, wanted, client=HOME)

    async def use(self, key: str, scope: str | None = None, resource: str | None = None) -> AccessClaims:
        found = await self.kernel.api_keys.exchange(key, self.kernel.rights.asked(scope, resource), client=HOME)
        return self.kernel.verifier.verify_for_any(found.access_token)


async def owner(kernel: Kernel, *, roles: tuple[str, ...] = ("editor",), name: str = "alice") -> Owner:
    if not kernel.rights.table.apis:
        await define(
            kernel, ("*", "read"), ("editor", "write"), ("admin", "delete"), apis=(("orders", ORDERS, "read"),)
        )
    user = await join(kernel, name, roles=roles)
    return Owner(kernel, user.id, claims_of(kernel, await log_in(kernel, name)))


async def refused(kernel: Kernel, key: str, *, code: str = "invalid_request", asked: Asked = EVERYTHING) -> None:
    with pytest.raises(Refused) as caught:
        await kernel.api_keys.exchange(key, asked, client=HOME)
    assert caught.value.code == code


async def test_tokens_are_limited_by_owner_and_by_network(open_kernel: Opener) -> None:
    """⚑ A key that is weakened often costs much to check. What is no key uses up nothing of its owner's."""
    async with open_kernel(api_key_limit="2/1h", api_key_address_limit="3/1h") as kernel:
        ada = await owner(kernel)
        record, key = await ada.key()
        for _ in range(5):
            await refused(kernel, written.make(record.id).text)
        weak, others = written.attenuate(key, scopes=["read"]), (await ada.key())[1]
        await ada.use(weak)
        await ada.use(others)
        for each in (key, weak, others):
            with pytest.raises(TooManyAttempts):
                await ada.use(each)
        bob = await owner(kernel, name="bob")
        _, key = await bob.key()
        await bob.use(key)
        with pytest.raises(TooManyAttempts):
            await bob.use(key)
        away = HOME._replace(address="203.0.113.9")
        assert (await kernel.api_keys.exchange(key, EVERYTHING, client=away)).access_token


async def test_one_key_does_not_stop_its_owners_others(open_kernel: Opener) -> None:
    """⚑ Nor does what was weakened from it, which anyone may hold. It counts with its parent."""
    async with open_kernel(api_key_limit="4/1h", api_key_each_limit="2/1h") as kernel:
        ada = await owner(kernel)
        leaked, other = (await ada.key())[1], (await ada.key())[1]
        for scopes in (["read"], ["write"]):
            await ada.use(written.attenuate(leaked, scopes=scopes))
        for each in (leaked, written.attenuate(leaked, scopes=[])):
            with pytest.raises(TooManyAttempts):
                await ada.use(each)
        for _ in range(2):
            await ada.use(other)


async def test_the_callers_of_a_guard_do_not_share_its_address(open_kernel: Opener) -> None:
    """⚑ Some of them would use it up for all others. Each owner's own limit stays."""

    async def good() -> None:
        """Their guard keys are in use."""

    async with open_kernel(api_key_limit="2/1h", api_key_address_limit="3/1h") as kernel:
        keys = [(await (await owner(kernel, name=f"user{number}")).key())[1] for number in range(4)]
        for key in keys:
            for _ in range(2):
                await kernel.api_keys.exchange(key, EVERYTHING, client=HOME, guard=good)
            with pytest.raises(TooManyAttempts):
                await kernel.api_keys.exchange(key, EVERYTHING, client=HOME, guard=good)


async def test_a_key_is_exchanged_for_its_scopes_and_no_roles(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key("read")
    claims = await ada.use(key)
    assert (claims.sub, claims.sid, claims.client_id) == (ada.id, record.id, "api_key")
    assert (claims.scopes, claims.roles, claims.amr) == ({"read"}, frozenset(), ("api_key",))
    assert claims.auth_time == 0  # which is never recent
    assert claims.exp == kernel.clock.now() + kernel.issuer.lifetime


async def test_nothing_stored_makes_a_key(kernel: Kernel) -> None:
    """⚑ J14: SHA-256 at rest; and the public key, by which weakened keys are checked, signs nothing."""
    ada = await owner(kernel)
    _, key = await ada.key()
    row = (await recorded(kernel, "ww_api_keys", "id"))[0]
    read = written.read(key)
    stored = " ".join(map(str, row.values()))
    assert key not in stored
    assert read.secret.hex() not in stored
    with pytest.raises(written.KeyFault):
        written.read(written.PREFIX + row["public_key"])
    forged = written.ApiKey(read.id, bytes.fromhex(row["secret_hash"])[:28])
    assert written.limits_of(forged, secret_hash=row["secret_hash"], public=written.make(read.id).public) is None


async def test_a_key_has_no_more_than_its_owner_has(kernel: Kernel) -> None:
    """⚑ When it is made, and at each exchange."""
    ada = await owner(kernel)
    with pytest.raises(Refused, match="delete"):
        await ada.key("read delete")
    _, key = await ada.key("read write")
    assert (await ada.use(key)).scopes == {"read", "write"}
    before = await kernel.api_keys.exchange(key, EVERYTHING, client=HOME)
    await give_roles(kernel, ada.id, ())
    with pytest.raises(TokenError, match="revoked"):
        kernel.verifier.verify(before.access_token)
    assert (await ada.use(key)).scopes == {"read"}
    await give_roles(kernel, ada.id, ("editor", "admin"))
    assert (await ada.use(key)).scopes == {"read", "write"}  # what the owner gets later is not the key's


async def test_a_key_whose_scopes_are_all_gone_has_none(kernel: Kernel) -> None:
    """⚑ An empty set is no limit that was left out."""
    ada = await owner(kernel)
    _, key = await ada.key("write")
    await give_roles(kernel, ada.id, ("admin",))
    assert (await ada.use(key)).scopes == frozenset()
    weaker = written.attenuate(key, scopes=["read"])
    assert (await ada.use(weaker)).scopes == frozenset()


async def test_an_exchange_asks_for_less_and_never_for_more(kernel: Kernel) -> None:
    ada = await owner(kernel)
    _, key = await ada.key("read write")
    assert (await ada.use(key, "read")).scopes == {"read"}
    await refused(kernel, key, code="invalid_scope", asked=Asked(frozenset({"delete"})))


async def test_a_key_for_one_api_opens_no_other(kernel: Kernel) -> None:
    ada = await owner(kernel)
    _, key = await ada.key("read", ORDERS)
    claims = await ada.use(key)
    assert (claims.aud, claims.scopes) == ((ORDERS,), {"read"})
    own = kernel.rights.asked(None, kernel.settings.audience)
    await refused(kernel, key, code="invalid_target", asked=own)
    _, any_api = await ada.key("read write")
    assert (await ada.use(any_api, resource=ORDERS)).aud == (ORDERS,)
    assert (await ada.use(any_api)).aud == (kernel.settings.audience,)
    await kernel.database.run("DELETE FROM ww_apis")
    await kernel.database.run("UPDATE ww_rights SET version = version + 1")
    await refused(kernel, key, code="invalid_target")


async def test_the_own_audience_of_a_key_may_be_registered_later(kernel: Kernel) -> None:
    """A key for it opens it still, by name too, and nothing else."""
    ada = await owner(kernel)
    own = kernel.settings.audience
    _, key = await ada.key("read", own)
    weaker = written.attenuate(key, resource=own)
    await define(kernel, apis=(("own", own, "read write"),))
    for each in (key, weaker):
        assert (await ada.use(each, resource=own)).aud == (own,)
        await refused(kernel, each, code="invalid_target", asked=kernel.rights.asked(None, ORDERS))


async def test_nothing_lives_past_its_end(kernel: Kernel) -> None:
    ada = await owner(kernel)
    _, key = await ada.key(seconds=10 * MINUTE)
    record, long = await ada.key(seconds=DAY)
    assert (await ada.use(key)).exp == kernel.clock.now() + 10 * MINUTE
    weaker = written.attenuate(long, expires_in=5 * MINUTE, clock=kernel.clock)
    assert (await ada.use(weaker)).exp == kernel.clock.now() + 5 * MINUTE
    kernel.clock.advance(5 * MINUTE)  # type: ignore[attr-defined]
    await refused(kernel, weaker)
    await ada.use(key)
    kernel.clock.advance(5 * MINUTE)  # type: ignore[attr-defined]
    await refused(kernel, key)
    assert [each.id for each in await kernel.api_keys.of(ada.id)][1] == record.id


async def test_a_revoked_key_and_its_tokens_are_refused(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key()
    weaker = written.attenuate(key, scopes=["read"])
    tokens = [(await kernel.api_keys.exchange(each, EVERYTHING, client=HOME)).access_token for each in (key, weaker)]
    await kernel.api_keys.revoke(ada.claims, record.id, client=HOME)
    for token in tokens:
        with pytest.raises(TokenError, match="revoked"):
            kernel.verifier.verify(token)
    await refused(kernel, key)
    await refused(kernel, weaker)
    assert not await kernel.api_keys.is_live(record.id)


async def test_no_one_revokes_or_rotates_the_key_of_another(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key()
    await join(kernel, "mallory")
    mallory = claims_of(kernel, await log_in(kernel, "mallory"))
    for attempt in (
        kernel.api_keys.revoke(mallory, record.id, client=HOME),
        kernel.api_keys.rotate(mallory, record.id, overlap=0, client=HOME),
    ):
        with pytest.raises(NotFound):
            await attempt
    await ada.use(key)
    await kernel.api_keys.revoke_any(record.id, check=unchecked, client=HOME)
    await refused(kernel, key)


async def test_a_secret_opens_only_the_key_that_it_belongs_to(kernel: Kernel) -> None:
    """⚑ The id of another user's key, with a secret of one's own and a checksum that is right."""
    ada = await owner(kernel)
    record, _ = await ada.key()
    _, own = await ada.key()
    forged = written._written(written._raw_id(record.id) + written.read(own).secret)
    assert written.read(forged).id == record.id
    await refused(kernel, forged)
    weaker = written.read(written.attenuate(own, scopes=["read"]))
    moved = written.ApiKey(record.id, b"", weaker.links, weaker.seed)
    row = next(each for each in await recorded(kernel, "ww_api_keys", "id") if each["id"] == record.id)
    from watchword import base64url

    public = base64url.decode(row["public_key"])
    assert written.limits_of(moved, secret_hash=row["secret_hash"], public=public) is None


async def test_a_key_is_dead_with_its_owner(kernel: Kernel) -> None:
    ada = await owner(kernel)
    _, key = await ada.key()
    token = (await kernel.api_keys.exchange(key, EVERYTHING, client=HOME)).access_token
    await operator(kernel).disable(ada.id)
    await refused(kernel, key)
    with pytest.raises(TokenError):
        kernel.verifier.verify(token)
    await operator(kernel).enable(ada.id)
    await ada.use(key)
    user = await kernel.users.find(ada.id)
    assert user is not None
    await kernel.users.delete(user, client=HOME, check=unchecked)
    await refused(kernel, key)
    assert await recorded(kernel, "ww_api_keys", "id") == []


async def test_a_reset_password_takes_the_keys_too(kernel: Kernel) -> None:
    """⚑ Someone who had taken the account over may have made some."""
    ada = await owner(kernel)
    _, key = await ada.key()
    await reset_password(kernel, ada.id)
    await refused(kernel, key)


async def test_a_key_makes_no_keys(kernel: Kernel) -> None:
    """⚑ J14: its token is that of no session."""
    ada = await owner(kernel)
    record, key = await ada.key()
    by_key = await ada.use(key)
    wanted = NewKey("another", EVERYTHING, DAY)
    for attempt in (
        kernel.api_keys.create(by_key, wanted, client=HOME),
        kernel.api_keys.rotate(by_key, record.id, overlap=0, client=HOME),
        kernel.api_keys.revoke(by_key, record.id, client=HOME),
    ):
        with pytest.raises(Unauthenticated):
            await attempt


async def test_rotation_lets_the_former_key_go_on_for_its_overlap(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key("read", seconds=DAY)
    former, fresh, new = await kernel.api_keys.rotate(ada.claims, record.id, overlap=HOUR, client=HOME)
    assert (former.replaced_by, former.expires_at) == (fresh.id, kernel.clock.now() + HOUR)
    assert (fresh.name, fresh.scopes, fresh.expires_at) == ("nightly", ("read",), kernel.clock.now() + DAY)
    assert (await ada.use(key)).scopes == (await ada.use(new)).scopes == {"read"}
    with pytest.raises(NotFound):
        await kernel.api_keys.rotate(ada.claims, record.id, overlap=0, client=HOME)
    kernel.clock.advance(HOUR)  # type: ignore[attr-defined]
    await refused(kernel, key)
    await ada.use(new)


async def test_rotation_without_overlap_refuses_at_once(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key()
    token = (await kernel.api_keys.exchange(key, EVERYTHING, client=HOME)).access_token
    _, _, new = await kernel.api_keys.rotate(ada.claims, record.id, overlap=0, client=HOME)
    await refused(kernel, key)
    with pytest.raises(TokenError, match="revoked"):
        kernel.verifier.verify(token)
    await ada.use(new)


@pytest.mark.parametrize("overlap", [-1, 1, 899, api_keys.MOST_OVERLAP + 1])
async def test_no_overlap_is_shorter_than_a_token(kernel: Kernel, overlap: int) -> None:
    ada = await owner(kernel)
    record, _ = await ada.key()
    with pytest.raises(InvalidInput):
        await kernel.api_keys.rotate(ada.claims, record.id, overlap=overlap, client=HOME)


async def test_a_user_has_so_many_keys(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_keys, "MOST_KEYS", 2)
    ada = await owner(kernel)
    record, _ = await ada.key(seconds=MINUTE)
    await ada.key()
    for attempt in (ada.key(), kernel.api_keys.rotate(ada.claims, record.id, overlap=HOUR, client=HOME)):
        with pytest.raises(Conflict) as caught:
            await attempt
        assert caught.value.code == "too_many_keys"
    kernel.clock.advance(MINUTE)  # type: ignore[attr-defined]
    await ada.key()


@pytest.mark.parametrize("wrong", [{"name": ""}, {"name": "a\nb"}, {"name": "x" * 65}, {"name": " a"},
                                   {"name": "\u3164"}, {"seconds": 0},
                                   {"seconds": api_keys.MOST_SECONDS + 1}])  # fmt: skip
async def test_what_no_key_can_be(kernel: Kernel, wrong: dict[str, Any]) -> None:
    ada = await owner(kernel)
    with pytest.raises(InvalidInput):
        await ada.key(**wrong)


async def test_the_last_use_is_stored_once_a_minute(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, key = await ada.key()
    begun = kernel.clock.now()
    for seconds, last in ((0, begun), (59, begun), (1, begun + 60)):
        kernel.clock.advance(seconds)  # type: ignore[attr-defined]
        await ada.use(key)
        assert (await kernel.api_keys.of(ada.id))[0].last_used_at == last, record


async def test_each_change_is_recorded_without_the_key(kernel: Kernel) -> None:
    ada = await owner(kernel)
    record, _ = await ada.key()
    _, fresh, _ = await kernel.api_keys.rotate(ada.claims, record.id, overlap=0, client=HOME)
    await kernel.api_keys.revoke(ada.claims, fresh.id, client=HOME)
    found = [each for each in await recorded(kernel, "ww_audit") if each["event"].startswith("api_key")]
    assert [each["event"] for each in found] == ["api_key_created", "api_key_rotated", "api_key_revoked"]
    assert all(each["user_id"] == each["actor_id"] == ada.id for each in found)
    assert fresh.id in found[1]["detail"]


async def test_no_number_of_short_lived_keys_hides_another(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """⚑ The list is whole. Of expired keys so many are kept, the newest, and no one else's are touched."""
    monkeypatch.setattr(api_keys, "_MOST_PAST", 3)
    ada, bob = await owner(kernel), await owner(kernel, name="bob")
    hidden, _ = await ada.key()
    theirs = [(await bob.key(seconds=1))[0].id for _ in range(3)]
    made = []
    for _ in range(6):
        made.append((await ada.key(seconds=1))[0].id)
        kernel.clock.advance(1)  # type: ignore[attr-defined]
    last, _ = await ada.key()
    assert [each.id for each in await kernel.api_keys.of(ada.id)] == [hidden.id, *made[-3:], last.id]
    assert [each.id for each in await kernel.api_keys.of(bob.id)] == theirs


async def test_the_sweep_forgets_keys_a_month_after_their_end(kernel: Kernel) -> None:
    ada = await owner(kernel)
    await ada.key(seconds=MINUTE)
    kernel.clock.advance(30 * DAY)  # type: ignore[attr-defined]
    await sweep(kernel.database, kernel.clock.now())
    assert len(await kernel.api_keys.of(ada.id)) == 1
    kernel.clock.advance(MINUTE)  # type: ignore[attr-defined]
    await sweep(kernel.database, kernel.clock.now())
    assert await kernel.api_keys.of(ada.id) == []


async def test_a_command_lists_and_revokes_without_serving(open_kernel: Opener) -> None:
    async with open_kernel() as kernel:
        ada = await owner(kernel)
        record, key = await ada.key()
        async with open_kernel(serves=False) as command:
            assert [each.id for each in await command.api_keys.page(limit=10)] == [record.id]
            await command.api_keys.revoke_any(record.id, check=unchecked, client=HOME)
        await refused(kernel, key)
