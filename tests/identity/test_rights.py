"""Scopes and APIs: what a token gets by the tables, and what a session was given."""

from __future__ import annotations

import pytest

from tests.identity.scenes import HOME, Opener, change_password, claims_of, give_roles, join, log_in, proven, refresh
from watchword.errors import Refused, Unauthenticated
from watchword.identity.factors import Candidate, Factor, Proof, SecondFactor
from watchword.identity.kernel import Kernel
from watchword.identity.login import LogIn, SecondFactorNeeded

ORDERS = "https://orders.example"


async def define(kernel: Kernel, *rows: tuple[str, str], apis: tuple[tuple[str, str, str], ...] = ()) -> None:
    """Write the tables: (role, scope), and (name, audience, scopes)."""
    for role, scope in rows:
        await kernel.database.run("INSERT INTO ww_role_scopes (role, scope) VALUES (:r, :s)", r=role, s=scope)
    for name, audience, scopes in apis:
        await kernel.database.run(
            "INSERT INTO ww_apis (id, name, audience, scopes, created_at) VALUES (:i, :n, :a, :s, 1)",
            i=f"id-{name}", n=name, a=audience, s=scopes,
        )  # fmt: skip
    await kernel.database.run("UPDATE ww_rights SET version = version + 1")
    await kernel.rights.catch_up()


async def test_without_tables_a_token_has_neither_scope_nor_version(kernel: Kernel) -> None:
    await join(kernel)
    claims = claims_of(kernel, await log_in(kernel))
    assert (claims.scopes, claims.rver, claims.aud) == (frozenset(), None, (kernel.settings.audience,))


async def test_a_token_has_the_scopes_of_every_user_and_of_each_role(kernel: Kernel) -> None:
    await define(kernel, ("*", "read"), ("editor", "write"), ("editor", "read"), ("admin", "delete"))
    await join(kernel, roles=("editor",))
    found = await log_in(kernel)
    assert claims_of(kernel, found).scopes == {"read", "write"}
    assert found.tokens.scope == "read write"
    assert claims_of(kernel, found).rver == kernel.rights.table.version


async def test_a_log_in_keeps_what_it_asked_for_and_has(kernel: Kernel) -> None:
    """⚑ What the user gets later is not the session's (checklist E-6)."""
    await define(kernel, ("*", "read"), ("editor", "write"), ("admin", "delete"))
    user = await join(kernel, roles=("editor",))
    found = await log_in(kernel, asked=kernel.rights.asked("write delete", None))
    assert found.tokens.scope == "write"
    await give_roles(kernel, user.id, ("editor", "admin"))
    assert (await refresh(kernel, found.tokens.refresh_token)).scope == "write"
    assert (await log_in(kernel)).tokens.scope == "delete read write"


async def test_a_refresh_narrows_one_token_and_never_grows(kernel: Kernel) -> None:
    """⚑ RFC 6749 section 6: the larger scope comes back with the next refresh, but not more than was given."""
    await define(kernel, ("*", "read"), ("*", "list"), ("editor", "write"))
    await join(kernel, roles=("editor",))
    tokens = (await log_in(kernel, asked=kernel.rights.asked("read list", None))).tokens
    narrow = await kernel.sessions.refresh(
        tokens.refresh_token, client_id="watchword", client=HOME, asked=kernel.rights.asked("list", None)
    )
    assert narrow.scope == "list"
    with pytest.raises(Refused, match="write") as caught:
        await kernel.sessions.refresh(
            narrow.refresh_token, client_id="watchword", client=HOME, asked=kernel.rights.asked("write read", None)
        )
    assert caught.value.code == "invalid_scope"
    assert (await refresh(kernel, narrow.refresh_token)).scope == "list read", "nothing was used up"


@pytest.mark.parametrize("scope", ["rea", "read nothing", "READ"])
async def test_an_unknown_scope_is_refused_by_name(kernel: Kernel, scope: str) -> None:
    await define(kernel, ("*", "read"))
    with pytest.raises(Refused, match=scope.rsplit(maxsplit=1)[-1]) as caught:
        kernel.rights.asked(scope, None)
    assert caught.value.code == "invalid_scope"


@pytest.mark.parametrize(
    "scope", [" ", " read", "read ", "read  read", "read\tread", 'read"', "re\\ad", "réad", "read\n"]
)
async def test_a_malformed_scope_is_refused(kernel: Kernel, scope: str) -> None:
    await define(kernel, ("*", "read"))
    for each in (scope, "read " * 1000 + "read"):
        with pytest.raises(Refused) as caught:
            kernel.rights.asked(each, None)
        assert caught.value.code == "invalid_scope"


async def test_a_user_with_none_of_the_scopes_gets_no_session(kernel: Kernel) -> None:
    """An empty limit is stored for no limit, so that it must not come about."""
    await define(kernel, ("*", "read"), ("admin", "delete"))
    await join(kernel)
    with pytest.raises(Refused, match="delete") as caught:
        await log_in(kernel, asked=kernel.rights.asked("delete", None))
    assert caught.value.code == "invalid_scope"
    assert await kernel.database.all("SELECT id FROM ww_sessions") == []


async def test_a_session_for_an_api_yields_tokens_for_no_other(kernel: Kernel) -> None:
    """⚑ The confused deputy: neither the service nor the other API accepts them (checklist E-6)."""
    await define(
        kernel, ("*", "orders:read"), ("*", "billing:read"),
        apis=(("orders", ORDERS, "orders:read"), ("billing", "https://billing.example", "billing:read")),
    )  # fmt: skip
    await join(kernel)
    found = await log_in(kernel, asked=kernel.rights.asked(None, ORDERS))
    assert found.tokens.scope == "orders:read"
    with pytest.raises(Exception, match="audience"):
        claims_of(kernel, found)
    for resource in ("https://billing.example", kernel.settings.audience):
        with pytest.raises(Refused) as caught:
            await kernel.sessions.refresh(
                found.tokens.refresh_token, client_id="watchword", client=HOME,
                asked=kernel.rights.asked(None, resource),
            )  # fmt: skip
        assert caught.value.code == "invalid_target"
    with pytest.raises(Refused, match="not known to this API: billing:read") as caught:
        await kernel.sessions.refresh(
            found.tokens.refresh_token, client_id="watchword", client=HOME,
            asked=kernel.rights.asked("orders:read billing:read", None),
        )  # fmt: skip
    assert caught.value.code == "invalid_scope"
    assert (await refresh(kernel, found.tokens.refresh_token)).scope == "orders:read"
    with pytest.raises(Refused, match="billing:read"):
        kernel.rights.asked("billing:read", ORDERS)
    with pytest.raises(Refused) as caught:
        kernel.rights.asked(None, ORDERS + "/")
    assert caught.value.code == "invalid_target"


async def test_a_session_for_any_api_yields_tokens_for_each(kernel: Kernel) -> None:
    await define(kernel, ("*", "orders:read"), ("*", "read"), apis=(("orders", ORDERS, "orders:read"),))
    await join(kernel)
    found = await log_in(kernel)
    assert found.tokens.scope == "orders:read read"
    at_orders = await kernel.sessions.refresh(
        found.tokens.refresh_token, client_id="watchword", client=HOME, asked=kernel.rights.asked(None, ORDERS)
    )
    assert at_orders.scope == "orders:read"
    assert claims_of(kernel, await refresh(kernel, at_orders.refresh_token)).scopes == {"orders:read", "read"}


async def test_the_own_audience_may_be_registered_later(kernel: Kernel) -> None:
    """A session for it goes on, and may name it still; it is the session of no other API."""
    await define(kernel, ("*", "read"), ("*", "orders:read"))
    await join(kernel)
    own = kernel.settings.audience
    tokens = (await log_in(kernel, asked=kernel.rights.asked(None, own))).tokens
    await define(kernel, apis=(("own", own, "read"), ("orders", ORDERS, "orders:read")))
    with pytest.raises(Refused, match="another API"):
        await kernel.sessions.refresh(
            tokens.refresh_token, client_id="watchword", client=HOME, asked=kernel.rights.asked(None, ORDERS)
        )
    tokens = await kernel.sessions.refresh(
        tokens.refresh_token, client_id="watchword", client=HOME, asked=kernel.rights.asked(None, own)
    )
    assert (tokens.scope, claims_of(kernel, tokens).aud) == ("read", (own,))
    table = kernel.rights.table
    assert not table.is_same("id-gone", "id-gone-too")
    assert not table.is_same("", "id-gone")


async def test_the_session_of_a_deleted_api_is_over(kernel: Kernel) -> None:
    """It does not fall back to the service's own audience."""
    await define(kernel, ("*", "orders:read"), apis=(("orders", ORDERS, "orders:read"),))
    await join(kernel)
    found = await log_in(kernel, asked=kernel.rights.asked(None, ORDERS))
    await kernel.database.run("DELETE FROM ww_apis")
    with pytest.raises(Unauthenticated) as caught:
        await refresh(kernel, found.tokens.refresh_token)
    assert caught.value.code == "session_ended"
    assert await kernel.sessions.find_current(found.tokens.refresh_token) is None


async def test_a_process_that_has_not_heard_of_a_change_hears_of_it_at_a_refresh(open_kernel: Opener) -> None:
    """The refresh's own statement says which version the tables have."""
    async with open_kernel() as one, open_kernel() as other:
        await define(one, ("*", "read"))
        await join(other)
        tokens = (await log_in(other)).tokens
        assert tokens.scope == "read"
        await define(one, ("*", "list"))
        assert other.rights.table.version < one.rights.table.version
        assert (await refresh(other, tokens.refresh_token)).scope == "list read"


@pytest.mark.sqlite
async def test_a_password_change_keeps_what_the_session_was_given(kernel: Kernel) -> None:
    """The new session is no larger than that of the caller."""
    await define(kernel, ("*", "read"), ("*", "write"))
    user = await join(kernel)
    found = await log_in(kernel, asked=kernel.rights.asked("read", kernel.settings.audience))
    confirmed = await kernel.login.confirm(user.id, proven, client=HOME)
    again = await change_password(
        kernel, claims_of(kernel, found), confirmed, "$argon2id$new", client=HOME, client_id="watchword"
    )
    assert again.tokens.scope == "read"
    assert (await refresh(kernel, again.tokens.refresh_token)).scope == "read"


async def test_a_second_factor_opens_what_was_asked_for_with_the_first(kernel: Kernel) -> None:
    """⚑ Half a log-in waits under a handle: what limits the session waits with it."""
    await define(kernel, ("*", "read"), ("*", "write"), apis=(("orders", ORDERS, "read write"),))
    await join(kernel)

    async def needed(_: object) -> bool:
        return True

    async def prove(_: Candidate | None) -> Proof | None:
        return Proof("otp")

    parts = (kernel.database, kernel.sessions, kernel.throttle, kernel.revocations, kernel.ephemeral, kernel.clock)
    login = LogIn(*parts, kernel.notices, kernel.known_devices, second_factors=(SecondFactor("otp", needed),))
    asked = kernel.rights.asked("read", ORDERS)
    with pytest.raises(SecondFactorNeeded) as half:
        await login.attempt("alice", proven, client=HOME, client_id="watchword", asked=asked)
    found = await login.complete(half.value.handle, Factor(prove), client=HOME, client_id="watchword")
    assert found.tokens.scope == "read"
    with pytest.raises(Exception, match="audience"):
        claims_of(kernel, found)
    (row,) = await kernel.database.all("SELECT scope, api FROM ww_sessions")
    assert (row["scope"], row["api"]) == ("read", "id-orders")
