"""Changing the tables of rights: what is refused then, by whom, and what is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.identity.interleaving import Change, race
from tests.identity.scenes import HOME, Opener, claims_of, entries, everything, join, log_in, recorded, refresh
from watchword.clock import FixedClock
from watchword.errors import Conflict, InvalidInput, NotFound, Refused, SettingsError, TokenError, Unauthenticated
from watchword.identity import roles
from watchword.identity.explaining import explain_token
from watchword.identity.granting import MOST_APIS, Operation, lost_by, unchecked
from watchword.identity.issuing import FIRST_PARTY
from watchword.identity.kernel import Kernel
from watchword.identity.restoring import note_restored
from watchword.identity.rights import Api, Table
from watchword.identity.sessions.sessions import Tokens
from watchword.identity.users import User
from watchword.tokens.revocations import RevocationSet
from watchword.tokens.verify import Policy, Verifier

BY = Operation(HOME, None, unchecked)
ORDERS = "https://orders.example"


async def give(kernel: Kernel, role: str, scopes: str) -> None:
    await kernel.granting.set_scopes(role, lambda _: frozenset(scopes.split()), BY)


async def at_orders(kernel: Kernel, tokens: Tokens) -> Tokens:
    """The next tokens, for the API orders."""
    return await kernel.sessions.refresh(
        tokens.refresh_token, client_id=FIRST_PARTY, client=HOME, asked=kernel.rights.asked(None, ORDERS)
    )


def read(kernel: Kernel, tokens: Tokens, audience: str = ORDERS) -> Any:
    """Judge a token as an API's guard does."""
    ring = kernel.keys.ring
    policy = Policy(kernel.settings.public_url, audience, ring.algorithms)
    found = Verifier(policy, ring.key_set)
    return found.verify(tokens.access_token, now=kernel.clock.now(), revocations=kernel.revocations.refused)


def refused(kernel: Kernel, tokens: Tokens, audience: str = ORDERS) -> bool:
    try:
        read(kernel, tokens, audience)
    except TokenError as error:
        return error.code == "token_revoked"
    return False


async def test_what_is_taken_from_a_role_is_refused_in_tokens_from_before(open_kernel: Opener) -> None:
    """⚑ In the process that changed it at once, in others with their next poll; idle users' tokens too."""
    async with open_kernel() as here, open_kernel() as there:
        await give(here, "editor", "read write")
        await give(here, "*", "read")
        await there.rights.catch_up()
        await join(there, roles=("editor",))
        await join(there, "bob")
        editor, reader = (await log_in(there)).tokens, (await log_in(there, "bob")).tokens
        await give(here, "editor", "read")
        with pytest.raises(TokenError, match="revoked"):
            claims_of(here, editor)
        await there.revocations.poll()
        with pytest.raises(TokenError, match="revoked"):
            claims_of(there, editor)
        assert claims_of(there, reader).scopes == {"read"}, "it never held what was taken"
        again = await refresh(there, editor.refresh_token)
        assert claims_of(there, again).scopes == {"read"}


async def test_what_is_added_or_given_twice_refuses_nothing(kernel: Kernel) -> None:
    await give(kernel, "editor", "read")
    await give(kernel, "editor", "read write")
    await give(kernel, "*", "read")
    await give(kernel, "editor", "write")  # it has `read` as every user
    assert await entries(kernel) == []


async def test_what_every_user_loses_is_refused_for_users_without_a_role(kernel: Kernel) -> None:
    await give(kernel, "*", "read list")
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    await give(kernel, "*", "list")
    with pytest.raises(TokenError, match="revoked"):
        claims_of(kernel, tokens)


async def test_without_a_change_nothing_is_written(kernel: Kernel) -> None:
    await give(kernel, "*", "read")
    before = await everything(kernel)
    await give(kernel, "*", "read")
    assert await everything(kernel) == before


async def test_a_deleted_api_refuses_its_tokens_and_ends_its_sessions(kernel: Kernel) -> None:
    """⚑ One that is registered again under the same name and audience begins anew."""
    await give(kernel, "*", "orders:read")
    await kernel.granting.create_api("orders", ORDERS, frozenset({"orders:read"}), BY)
    await join(kernel)
    session = (await log_in(kernel, asked=kernel.rights.asked(None, ORDERS))).tokens
    roaming = await at_orders(kernel, (await log_in(kernel)).tokens)
    assert [refused(kernel, each) for each in (session, roaming)] == [False, False]
    await kernel.granting.delete_api("orders", BY)
    assert [refused(kernel, each) for each in (session, roaming)] == [True, True]
    with pytest.raises(Refused) as caught:
        kernel.rights.asked(None, ORDERS)
    assert caught.value.code == "invalid_target"
    await kernel.granting.create_api("orders", ORDERS, frozenset({"orders:read"}), BY)
    assert refused(kernel, session), "a token of the API that was deleted"
    with pytest.raises(Unauthenticated):
        await refresh(kernel, session.refresh_token)
    assert read(kernel, await at_orders(kernel, roaming)).scopes == {"orders:read"}


async def test_a_changed_api_refuses_what_it_no_longer_knows(kernel: Kernel) -> None:
    await give(kernel, "*", "orders:read orders:write")
    await kernel.granting.create_api("orders", ORDERS, frozenset({"orders:read", "orders:write"}), BY)
    await join(kernel)
    tokens = (await log_in(kernel, asked=kernel.rights.asked(None, ORDERS))).tokens
    await kernel.granting.change_api("orders", audience=None, change=lambda held: held - {"orders:write"}, by=BY)
    assert refused(kernel, tokens)
    tokens = await refresh(kernel, tokens.refresh_token)
    assert read(kernel, tokens).scopes == {"orders:read"}
    await kernel.granting.change_api("orders", audience="urn:orders:2", change=lambda held: held, by=BY)
    assert refused(kernel, tokens)
    assert read(kernel, await refresh(kernel, tokens.refresh_token), "urn:orders:2").scopes == {"orders:read"}


async def test_an_api_for_the_services_own_audience_says_which_scopes_its_tokens_hold(kernel: Kernel) -> None:
    await give(kernel, "*", "orders:read read")
    await join(kernel)
    tokens = (await log_in(kernel)).tokens
    assert claims_of(kernel, tokens).scopes == {"orders:read", "read"}
    await kernel.granting.create_api("main", kernel.settings.audience, frozenset({"read"}), BY)
    with pytest.raises(TokenError, match="revoked"):
        claims_of(kernel, tokens)
    assert claims_of(kernel, await refresh(kernel, tokens.refresh_token)).scopes == {"read"}
    await kernel.granting.delete_api("main", BY)
    assert claims_of(kernel, (await log_in(kernel)).tokens).scopes == {"orders:read", "read"}, "no audience was refused"


@pytest.mark.parametrize("role", ["", "two words", "ä", "r" * 65, "**"])
async def test_a_role_that_no_user_can_have_gets_no_scopes(kernel: Kernel, role: str) -> None:
    with pytest.raises(InvalidInput):
        await give(kernel, role, "read")


async def test_what_no_token_could_hold_is_refused_when_it_is_set(kernel: Kernel) -> None:
    """⚑ No log-in can fail later for the size of its token."""
    many = [f"scope-number-{n:03}" for n in range(70)]
    await give(kernel, "one", " ".join(many[:50]))
    before = await everything(kernel)
    for role, scopes in (("two", many[50:]), ("two", ["é"]), ("two", ["s" * 65]), ("two", ['"']), ("two", many)):
        with pytest.raises(InvalidInput):
            await kernel.granting.set_scopes(role, lambda _, new=scopes: frozenset(new), BY)  # type: ignore[misc]
    assert await everything(kernel) == before
    await kernel.granting.create_api("main", kernel.settings.audience, frozenset(many[:50]), BY)
    await give(kernel, "two", " ".join(many[50:]))


@pytest.mark.parametrize("audience", ["", "two words", "a,b", "https://x/#part", "é", "a" * 256, 'a"b', "a\nb"])
async def test_an_audience_that_cannot_be_is_refused(kernel: Kernel, audience: str) -> None:
    with pytest.raises(InvalidInput):
        await kernel.granting.create_api("orders", audience, frozenset(), BY)


@pytest.mark.parametrize("name", ["", ".", "..", "two words", "a/b", "é", "n" * 65])
async def test_a_name_that_cannot_be_is_refused(kernel: Kernel, name: str) -> None:
    """`DELETE /admin/apis/..` is sent as `DELETE /admin/`."""
    with pytest.raises(InvalidInput):
        await kernel.granting.create_api(name, ORDERS, frozenset(), BY)


async def test_names_and_audiences_are_unique(kernel: Kernel) -> None:
    await kernel.granting.create_api("orders", ORDERS, frozenset(), BY)
    await kernel.granting.create_api("billing", "https://billing.example", frozenset(), BY)
    for name, audience in (("orders", "https://else.example"), ("else", ORDERS)):
        with pytest.raises(Conflict):
            await kernel.granting.create_api(name, audience, frozenset(), BY)
    with pytest.raises(Conflict):
        await kernel.granting.change_api("billing", audience=ORDERS, change=lambda held: held, by=BY)
    for change in (kernel.granting.delete_api("none", BY),
                   kernel.granting.change_api("none", audience=None, change=lambda held: held, by=BY)):  # fmt: skip
        with pytest.raises(NotFound):
            await change
    assert [row["name"] for row in await recorded(kernel, "ww_apis", "name")] == ["billing", "orders"]


@pytest.mark.sqlite
async def test_apis_are_bounded(kernel: Kernel) -> None:
    for number in range(MOST_APIS):
        await kernel.granting.create_api(f"api-{number}", f"urn:api:{number}", frozenset(), BY)
    with pytest.raises(InvalidInput):
        await kernel.granting.create_api("one-more", "urn:one:more", frozenset(), BY)


async def test_two_changes_at_once_are_both_kept(open_kernel: Opener) -> None:
    async with open_kernel() as here, open_kernel() as there:
        await asyncio.gather(
            *(
                kernel.granting.set_scopes("editor", lambda held, new=f"{name}-{n}": held | {new}, BY)  # type: ignore[misc]
                for n in range(5)
                for name, kernel in (("here", here), ("there", there))
            )
        )
        await here.rights.catch_up()
        assert len(here.rights.table.by_role["editor"]) == 10


async def test_a_restored_database_refuses_nothing_that_is_issued_after(kernel: Kernel) -> None:
    """Guards keep entries of versions that the backup does not know."""
    await give(kernel, "*", "read list")
    version = kernel.rights.table.version
    await give(kernel, "*", "list")
    await note_restored(kernel.revocations, kernel.keys.store, kernel.clock, shared_secret=False)
    await kernel.rights.catch_up()
    assert kernel.rights.table.version > version + 1000


def take(kernel: Kernel, user: User, turn: int) -> Any:
    """Take away one scope and give another, by turns."""

    async def work() -> User:
        await give(kernel, "*", f"always turn-{turn}")
        return user

    return work()


async def test_refresh_beside_a_change_of_the_table(
    open_kernel: Opener, clock: FixedClock, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """⚑ A refresh in flight has read its own snapshot. What it yields holds no right that was taken, or is refused."""
    from tests.identity import interleaving

    seen = {"token_revoked": 0}

    async def judged(kernels: tuple[Kernel, ...], clock: FixedClock, tokens: Tokens, user: User) -> bool:
        now_given = await kernels[1].database.all("SELECT scope FROM ww_role_scopes")
        for kernel in kernels:
            await kernel.revocations.poll()
            try:
                held = kernel.verifier.verify(tokens.access_token).scopes
            except TokenError as error:
                seen[error.code] += 1
            else:
                assert held <= {row["scope"] for row in now_given}
        return False

    monkeypatch.setattr(interleaving, "_refused_for_ever", judged)
    change: Change = take
    await race(open_kernel, clock, change, rounds=20, seed=2)
    if engine == "postgres":
        assert seen["token_revoked"], "no refresh was overtaken, so nothing was tried"


def test_a_guard_refuses_by_scope_audience_and_version() -> None:
    """The set that guards hold, without a service."""
    revoked = RevocationSet()
    revoked.add("scope", "write", 5, 1000)
    revoked.add("audience", ORDERS, 7, 1000)

    class Token:
        session_mark, user_mark, key_mark, ver, actors = None, 1, 2, 1, ()

        def __init__(self, rver: int | None, scopes: str = "", aud: str = "api") -> None:
            self.rver, self.scopes, self.aud = rver, frozenset(scopes.split()), (aud,)

    cases = {
        (None, "write", "api"): True, (4, "read write", "api"): True, (5, "write", "api"): False,
        (4, "read", "api"): False, (6, "write", ORDERS): True, (None, "", ORDERS): True, (7, "write", ORDERS): False,
    }  # fmt: skip
    for of, expected in cases.items():
        assert revoked.refuses(Token(*of)) is expected, of
    other = RevocationSet()
    other.add_marks(revoked.passing())
    assert [other.refuses(Token(*of)) for of in cases] == list(cases.values())
    assert len(other) == 2
    assert other.sweep(1021) == 2
    assert not other.refuses(Token(None, "write", ORDERS))


@pytest.mark.sqlite
async def test_the_setting_is_the_truth(open_kernel: Opener) -> None:
    """The table follows it at the start, and cannot be changed otherwise; without it the table stays as it was."""
    async with open_kernel() as kernel:
        await give(kernel, "editor", "read write")
        await join(kernel, roles=("editor",))
        tokens = (await log_in(kernel)).tokens
    async with open_kernel(scopes="*=read,admin=delete") as kernel:
        assert dict(kernel.rights.table.by_role) == {"*": {"read"}, "admin": {"delete"}}
        with pytest.raises(TokenError, match="revoked"):
            claims_of(kernel, tokens)
        with pytest.raises(Conflict, match="WATCHWORD_SCOPES"):
            await give(kernel, "editor", "read")
        before = await everything(kernel)
        async with open_kernel(scopes="*=read,admin=delete"):
            assert await everything(kernel) == before, "a second start changes nothing"
        async with open_kernel(scopes="*=other", serves=False) as command:
            assert dict(command.rights.table.by_role) == {"*": {"read"}, "admin": {"delete"}}, "no command follows it"
    async with open_kernel() as kernel:
        await give(kernel, "editor", "read")
        assert set(kernel.rights.table.by_role) == {"*", "admin", "editor"}


@pytest.mark.sqlite
async def test_a_setting_that_fits_no_token_stops_the_start(open_kernel: Opener) -> None:
    many = " ".join(f"scope-number-{n:03}" for n in range(70))
    with pytest.raises(SettingsError, match=r"WATCHWORD_SCOPES.*characters"):
        async with open_kernel(scopes=f"*={many}"):
            pass


@pytest.mark.sqlite
async def test_explaining_names_the_api_and_what_was_taken_away(kernel: Kernel) -> None:
    await give(kernel, "*", "orders:read orders:write")
    await kernel.granting.create_api("orders", ORDERS, frozenset({"orders:read", "orders:write"}), BY)
    await join(kernel)
    tokens = (await log_in(kernel, asked=kernel.rights.asked(None, ORDERS))).tokens
    found = await explain_token(kernel, tokens.access_token)
    assert (found.accepted, found.facts["api"], found.reasons) == (True, "orders", [])
    await give(kernel, "*", "orders:read")
    found = await explain_token(kernel, tokens.access_token)
    assert (found.accepted, found.code) == (False, "token_revoked")
    assert found.reasons == ["Since it was issued, rights that it has were taken away: orders:write."]
    await kernel.granting.delete_api("orders", BY)
    assert "audience" in " ".join((await explain_token(kernel, tokens.access_token)).reasons)
    assert "API" in " ".join((await explain_token(kernel, tokens.refresh_token)).reasons)


async def test_whether_someone_has_a_role(open_kernel: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte. Among more users than are looked at, nothing is said of a role that was not found."""
    async with open_kernel() as kernel:
        await join(kernel, roles=("a.editor", "editor-in-chief"))
        await join(kernel, "bob")
        unknown = {
            role: await roles.has_no_holder(kernel.database, role) for role in ("editor", "Editor-in-chief", "a")
        }
        assert set(unknown.values()) == {True}
        assert not await roles.has_no_holder(kernel.database, "editor-in-chief")
        monkeypatch.setattr(roles, "_LOOKED_AT", 2)
        assert not await roles.has_no_holder(kernel.database, "editor")


class _Asked(dict[str, frozenset[str]]):
    """A table's roles, which count how often they are looked up."""

    times = 0

    def get(self, *of: Any) -> Any:
        self.times += 1
        return super().get(*of)


def test_the_work_of_a_change_is_roles_and_apis_and_not_each_role_at_each_api() -> None:
    """⚑ 10,000 roles and 200 APIs took 13 seconds in the unit, which PostgreSQL ends: no right could be taken away."""
    roles = {f"role{n}": frozenset((f"scope{n}",)) for n in range(60)}
    apis = [Api(f"{n}", f"api{n}", f"https://{n}.example", frozenset(("scope0", f"scope{n}"))) for n in range(40)]
    before = Table(1, roles, apis, audience="own")
    after = Table(
        2, {**roles, "role0": frozenset()}, [*apis[:39], apis[39]._replace(scopes=frozenset())], audience="own"
    )
    before.by_role = asked = _Asked(before.by_role)
    assert lost_by(before, after).scopes == {"scope0", "scope39"}
    assert asked.times < 4 * (len(roles) + len(apis))
