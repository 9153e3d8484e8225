"""Own claims: what of a user is in tokens, how large it may be, what a change of it does, and what a function may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import structlog

from tests.identity.scenes import HOME, Opener, claims_of, entries, everything, join, log_in, meddle, refresh
from watchword.errors import InvalidInput, TokenError
from watchword.identity.administration import Administration, unchecked
from watchword.identity.audit import LOCAL
from watchword.identity.kernel import Kernel
from watchword.identity.own_claims import MOST_BYTES, ClaimsFault, TokenUser, in_tokens
from watchword.identity.user_data import NOTHING, UserData, checked_metadata
from watchword.identity.users import User
from watchword.storage.database import Tx

MAPPED = "tenant=public_metadata.tenant,name=name,plan=public_metadata.billing.plan"
ACME = {"tenant": "acme", "billing": {"plan": 3}}


def data(public: dict[str, Any], name: str | None = "Ada", private: str = NOTHING) -> UserData:
    return UserData(name, checked_metadata(public, "public_metadata"), private)


def administration(kernel: Kernel) -> Administration:
    return Administration(kernel, client=LOCAL, check=unchecked)


async def put(kernel: Kernel, user: User, public: dict[str, Any]) -> None:
    await administration(kernel).set_metadata(user, public=checked_metadata(public, "public_metadata"))


async def rename(kernel: Kernel, user: User, **given: Any) -> None:
    found = await kernel.users.find(user.id)
    assert found is not None
    await administration(kernel).rename(found, **{"username": None, "email": None, **given})


async def test_tokens_carry_what_is_mapped_and_nothing_else(open_kernel: Opener) -> None:
    """At the log-in and after each refresh; what a user does not have is left out."""
    async with open_kernel(claims=MAPPED) as kernel:
        await join(kernel, data=data(ACME, private='{"secret":"canary"}'))
        await join(kernel, "bob", data=data({"tenant": None, "billing": [1]}, None))
        alice, bob = await log_in(kernel), await log_in(kernel, "bob")
        assert claims_of(kernel, alice).extra == {"tenant": "acme", "name": "Ada", "plan": 3}
        assert claims_of(kernel, await refresh(kernel, alice.tokens.refresh_token)).extra["plan"] == 3
        again = await refresh(kernel, alice.tokens.refresh_token)  # the same once more, as after a lost answer
        assert claims_of(kernel, again).extra["tenant"] == "acme"
        assert claims_of(kernel, bob).extra == {}
    async with open_kernel() as kernel:
        assert claims_of(kernel, await log_in(kernel)).extra == {}


async def test_a_change_of_a_mapped_field_refuses_older_tokens_and_no_session(open_kernel: Opener) -> None:
    """Also of a value that Python takes for the same; a change of anything else refuses nothing."""
    async with open_kernel(claims=MAPPED) as kernel:
        user = await join(kernel, data=data(ACME))
        tokens = (await log_in(kernel)).tokens
        for unseen in ({**ACME, "note": 1}, {**ACME, "billing": {"plan": 3, "note": "x"}}):
            await put(kernel, user, unseen)
            await rename(kernel, user, username=f"alice{len(str(unseen))}")
        claims_of(kernel, tokens)
        assert await entries(kernel) == []
        changes = ({"tenant": "acme", "billing": {"plan": 3.0}}, {"tenant": True}, {"tenant": 1}, {})
        for changed in changes:
            await put(kernel, user, changed)
            with pytest.raises(TokenError) as caught:
                claims_of(kernel, tokens)
            assert caught.value.code == "token_revoked"
            tokens = await refresh(kernel, tokens.refresh_token)
            found = claims_of(kernel, tokens).extra.get("tenant")
            assert (type(found), found) == (type(changed.get("tenant")), changed.get("tenant"))
        await rename(kernel, user, name="Ada King")
        with pytest.raises(TokenError):
            claims_of(kernel, tokens)
        assert claims_of(kernel, await refresh(kernel, tokens.refresh_token)).extra == {"name": "Ada King"}


async def test_a_command_with_other_settings_refuses_them_too(open_kernel: Opener) -> None:
    """The database knows what services map: a command often does not have their settings."""
    async with open_kernel(claims=MAPPED) as kernel:
        user = await join(kernel, data=data(ACME))
        tokens = (await log_in(kernel)).tokens
        async with open_kernel(serves=False) as command:
            await put(command, user, {"tenant": "other"})
        await kernel.revocations.poll()
        with pytest.raises(TokenError):
            claims_of(kernel, tokens)


async def test_what_was_ever_mapped_is_remembered_and_added_to(open_kernel: Opener) -> None:
    """Services that start one after the other, or at once, each with another mapping."""

    async def known(kernel: Kernel) -> bool:
        async def unit(tx: Tx) -> bool:
            one, other = (
                User("1", "ada", None, None, (), 1, 0, 0, None, None, public_metadata=f'{{"{key}":1}}') for key in "ab"
            )
            return await in_tokens(tx, one, other)

        return await kernel.database.transact(unit)

    async with open_kernel(claims="x=name") as kernel:
        assert not await known(kernel)
    opened = [open_kernel(claims=f"x=public_metadata.{key}") for key in ("a", "c")]
    async with opened[0], opened[1]:
        pass
    async with open_kernel() as kernel:
        assert await known(kernel)
        row = await kernel.database.one("SELECT value FROM ww_meta WHERE name = 'claims'")
        assert row is not None
        assert row["value"] == "name public_metadata.a public_metadata.c"


async def test_the_size_is_bounded_when_the_data_is_set(open_kernel: Opener) -> None:
    """By every way in; what just fits is in the token."""
    async with open_kernel(claims="tenant=public_metadata.tenant,name=name") as kernel:
        room = MOST_BYTES - len('{"tenant":"","name":"Ada"}')
        user = await join(kernel, data=data({"tenant": "t" * room, "more": "m" * 2_000}))
        assert claims_of(kernel, await log_in(kernel)).extra["tenant"] == "t" * room
        before = await everything(kernel)
        with pytest.raises(InvalidInput, match="acceptable") as caught:
            await put(kernel, user, {"tenant": "t" * (room + 1)})
        assert (caught.value.errors[0].field, caught.value.errors[0].code) == ("public_metadata", "too_large")
        with pytest.raises(InvalidInput) as caught:
            await rename(kernel, user, name="Adah")
        assert caught.value.errors[0].field == "name", "the field that was sent, which a form shows"
        with pytest.raises(InvalidInput):
            await join(kernel, "bob", data=data({"tenant": "t" * (room + 1)}))
        assert await everything(kernel) == before


async def test_data_that_a_new_setting_cannot_carry_locks_no_one_out(open_kernel: Opener) -> None:
    """Claims that fit are in the token, in the order of the setting; the log says which are not."""
    large = {"a": "a" * 500, "b": "b" * 500, "c": "c"}
    async with open_kernel() as kernel:
        await join(kernel, data=data(large))
    mapped = "a=public_metadata.a,b=public_metadata.b,c=public_metadata.c"
    async with open_kernel(claims=mapped) as kernel:
        with structlog.testing.capture_logs() as logs:
            tokens = (await log_in(kernel)).tokens
            assert claims_of(kernel, tokens).extra == {"a": "a" * 500, "c": "c"}
            assert claims_of(kernel, await refresh(kernel, tokens.refresh_token)).extra == {"a": "a" * 500, "c": "c"}
        told = [line for line in logs if line["event"] == "claim_left_out"]
        assert [line["claim"] for line in told] == ["b", "b"]
        assert "bbb" not in json.dumps(told)


@pytest.mark.sqlite
@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', '{"tenant": NaN}'])
async def test_text_that_someone_wrote_by_hand_locks_no_one_out(open_kernel: Opener, text: str) -> None:
    """It is read as empty."""
    async with open_kernel(claims=MAPPED) as kernel:
        await join(kernel, data=data(ACME))
        meddle(kernel, f"UPDATE ww_users SET public_metadata = '{text}'")
        tokens = (await log_in(kernel)).tokens
        assert claims_of(kernel, await refresh(kernel, tokens.refresh_token)).extra == {"name": "Ada"}


async def test_no_token_with_an_old_value_is_accepted_after_the_change_was_heard(open_kernel: Opener) -> None:
    """Refreshes and a change at the same moment, over and over: a token has the value that its version had."""
    async with open_kernel(claims=MAPPED) as kernel:
        user = await join(kernel, data=data({"tenant": 0}))
        sessions = [(await log_in(kernel)).tokens for _ in range(4)]

        async def again(place: int) -> None:
            for _ in range(3):
                sessions[place] = await refresh(kernel, sessions[place].refresh_token)
                issued.append(sessions[place])

        for number in range(1, 8):
            issued = list(sessions)
            await asyncio.gather(
                *(again(place) for place in range(2)),
                put(kernel, user, {"tenant": number}),
                *(again(place) for place in (2, 3)),
            )
            for tokens in issued:
                with suppress(TokenError):
                    assert claims_of(kernel, tokens).extra["tenant"] == number
            sessions = [await refresh(kernel, each.refresh_token) for each in sessions]
            assert {claims_of(kernel, each).extra["tenant"] for each in sessions} == {number}


def greeting(user: TokenUser) -> Mapping[str, object]:
    return {"hello": f"{user.name} of {user.public_metadata['tenant']}", "roles_held": user.roles, "none": None}


async def test_a_function_computes_claims_for_each_token(open_kernel: Opener) -> None:
    """It sees the user as they are now; what it may read refuses older tokens when it changes."""
    async with open_kernel(function=greeting) as kernel:
        user = await join(kernel, roles=("staff",), data=data(ACME))
        tokens = (await log_in(kernel)).tokens
        assert claims_of(kernel, tokens).extra == {"hello": "Ada of acme", "roles_held": ("staff",)}
        await put(kernel, user, {"tenant": "other"})
        with pytest.raises(TokenError):
            claims_of(kernel, tokens)
        tokens = await refresh(kernel, tokens.refresh_token)
        assert claims_of(kernel, tokens).extra["hello"] == "Ada of other"


def test_what_a_function_sees_cannot_be_changed_and_has_nothing_private() -> None:
    """Neither an address nor the private metadata is there to slip into a token."""
    names = {"id", "username", "name", "external_id", "roles", "public_metadata"}
    assert set(TokenUser.__struct_fields__) == names


def _deep(levels: int) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = [made]
    return made


class _Endless(Mapping[str, Any]):
    """A mapping that holds itself."""

    def __getitem__(self, name: str) -> Any:
        return self

    def __iter__(self) -> Any:
        return iter(["again"])

    def __len__(self) -> int:
        return 1


async def _later(_: TokenUser) -> Mapping[str, Any]:
    return {}


def _raises(_: TokenUser) -> Mapping[str, Any]:
    raise InvalidInput


WRONG: dict[str, Any] = {
    "raises": _raises,
    "asynchronous": _later,
    "list": lambda _: ["a"],
    "none": lambda _: None,
    "reserved": lambda user: {"sub": "root"},
    "in-capitals": lambda user: {"ROLES": ["admin"]},
    "twice-but-for-capitals": lambda user: {"tenant": "a", "Tenant": user.name},
    "of-javascript": lambda user: {"constructor": {}},
    "not-a-name": lambda user: {"__proto__": {}},
    "number-as-name": lambda user: {1: "one"},
    "bytes": lambda user: {"a": b"x"},
    "set": lambda user: {"a": {"x"}},
    "nan": lambda user: {"a": float("nan")},
    "infinite": lambda user: {"a": [float("inf")]},
    "huge": lambda user: {"a": 2**53},
    "surrogate": lambda user: {"a": "\ud800"},
    "nul": lambda user: {"a": "\0"},
    "too-large": lambda user: {"a": "a" * MOST_BYTES},
    "too-deep": lambda user: {"a": _deep(9)},
    "endless": lambda user: {"a": _Endless()},
    "changes-user": lambda user: setattr(user, "id", "root") or {},
    "changes-metadata": lambda user: user.public_metadata.update(tenant="root"),
}


@pytest.mark.sqlite
@pytest.mark.parametrize("wrong", WRONG)
async def test_a_function_that_fails_fails_the_log_in_and_uses_up_nothing(open_kernel: Opener, wrong: str) -> None:
    """No token goes out, nothing is stored, and the same refresh token works once the function does."""
    chosen: dict[str, Any] = {"now": greeting}

    def ask(user: TokenUser) -> Any:
        return chosen["now"](user)

    async with open_kernel(function=ask) as kernel:
        await join(kernel, data=data(ACME))
        tokens = (await log_in(kernel)).tokens
        kernel.clock.advance(60)  # type: ignore[attr-defined]
        chosen["now"] = WRONG[wrong]
        before = await everything(kernel)
        with pytest.raises(ClaimsFault):
            await log_in(kernel)
        for _ in range(2):
            with pytest.raises(ClaimsFault):
                await refresh(kernel, tokens.refresh_token)
        assert await everything(kernel) == before
        chosen["now"] = greeting
        fresh = await refresh(kernel, tokens.refresh_token)
        assert claims_of(kernel, fresh).extra["hello"] == "Ada of acme"
        chosen["now"] = WRONG[wrong]
        with pytest.raises(ClaimsFault):  # the answer was lost, and is asked for again
            await refresh(kernel, tokens.refresh_token)
        chosen["now"] = greeting
        assert (await refresh(kernel, tokens.refresh_token)).refresh_token == fresh.refresh_token


async def test_metadata_is_written_as_a_whole_and_recorded_without_its_content(kernel: Kernel) -> None:
    """Each object by itself; a user that is gone takes it along."""
    user = await join(kernel, data=data(ACME, private='{"note":"canary"}'))
    await put(kernel, user, {"b": 2})
    found = await administration(kernel).metadata(user.id)
    assert (found.public, found.private) == ('{"b":2}', '{"note":"canary"}')
    await administration(kernel).set_metadata(user, private='{"c":"canary"}')
    records = (await everything(kernel))["ww_audit"]
    told = [row["detail"] for row in records if row["event"] == "metadata_changed"]
    assert told == ['{"fields":"public_metadata"}', '{"fields":"private_metadata"}']
    await kernel.users.delete(user, client=HOME, check=unchecked)
    assert "canary" not in str(await everything(kernel))
