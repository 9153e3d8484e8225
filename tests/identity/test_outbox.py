"""The outbox: in the transaction of what it tells of, sent by one process, tried again, given up, and sent again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.identity.scenes import DAY, HOME, HOUR, Opener, file_contents, join, operator, recorded, reset_password
from tests.mail.mailbox import receiving
from watchword.clock import FixedClock
from watchword.identity import sweeping
from watchword.identity.identifiers import typed
from watchword.identity.kernel import Kernel
from watchword.identity.one_time import OneTime
from watchword.identity.outbox import WAITS
from watchword.identity.queue import AT_ONCE, CLAIMED_SECONDS
from watchword.storage.database import Tx

TO = "ada@example.org"


async def add(kernel: Kernel, template: str = "password_changed", *, to: str = TO, fails: bool = False) -> None:
    """One notice, in a unit of its own."""

    async def unit(tx: Tx) -> None:
        await kernel.outbox.add(tx, template, recipient=to, language="de", user_id=None)
        if fails:
            raise RuntimeError("the unit fails")

    await kernel.database.transact(unit)


async def turn(kernel: Kernel) -> int:
    """One turn of the background work."""
    assert kernel.post is not None
    return await kernel.post.turn()


async def test_a_mail_is_stored_with_what_it_tells_of_or_not_at_all(kernel: Kernel) -> None:
    """A unit that fails sends nothing."""
    with pytest.raises(RuntimeError):
        await add(kernel, fails=True)
    assert await recorded(kernel, "ww_outbox", "id") == []


async def test_what_is_sent_is_gone(open_kernel: Opener) -> None:
    """Once the server has it nothing of it stays in the database."""
    with receiving() as box:
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:
            await add(kernel)
            assert await turn(kernel) == 1
            assert await recorded(kernel, "ww_outbox", "id") == []
            assert await turn(kernel) == 0
    assert box.subjects(TO) == ["Ihr Passwort wurde geändert"]


async def test_many_processes_send_each_mail_once(open_kernel: Opener) -> None:
    """Two services on one database, each with four senders at once, and forty mails."""
    with receiving() as box:
        given = {"smtp_url": box.url, "mail_from": "no-reply@example.com", "workers": 2}
        async with open_kernel(**given) as one, open_kernel(**given) as two:
            for number in range(40):
                await add(one, to=f"user-{number}@example.org")
            handled = await asyncio.gather(*(turn(kernel) for kernel in (one, two) for _ in range(4)))
    assert sum(handled) == 40
    assert sorted(str(mail["To"]) for mail in box.mails) == sorted(f"user-{number}@example.org" for number in range(40))


async def test_a_process_that_dies_leaves_the_mail_to_the_next(kernel: Kernel, clock: FixedClock) -> None:
    """Its claim ends; until then no other has it."""
    await add(kernel)
    (first,) = await kernel.outbox.claim()
    assert await kernel.outbox.claim() == []
    clock.advance(CLAIMED_SECONDS - 1)
    assert await kernel.outbox.claim() == []
    clock.advance(1)
    (second,) = await kernel.outbox.claim()
    assert (first.id, first.tries, second.id, second.tries) == (second.id, 1, first.id, 2)
    # The first one was only slow. It no longer decides.
    await kernel.outbox.not_sent(first, "too late", final=True)
    (row,) = await recorded(kernel, "ww_outbox", "id")
    assert (row["failed_at"], row["fault"]) == (None, None)


async def test_it_is_tried_again_and_given_up(open_kernel: Opener, clock: FixedClock) -> None:
    """After growing waits; then it is listed with the reason, and sent again when an operator says so."""
    with receiving() as box:
        box.refuses = {TO: "451 greylisted"}
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:
            await add(kernel)
            for wait in WAITS:
                assert await turn(kernel) == 1
                assert await kernel.outbox.failed() == []
                clock.advance(wait - 1)
                assert await turn(kernel) == 0
                clock.advance(1)
            assert await turn(kernel) == 1
            (failed,) = await kernel.outbox.failed()
            assert (failed.fault, failed.tries, failed.recipient) == ("451 greylisted", len(WAITS) + 1, TO)
            clock.advance(HOUR)
            assert await turn(kernel) == 0
            box.refuses = {}
            assert await kernel.outbox.retry("unknown") == 0
            assert await kernel.outbox.retry(failed.id) == 1
            assert await turn(kernel) == 1
            assert await kernel.outbox.failed() == []
    assert len(box.mails) == 1


async def test_a_final_answer_is_given_up_at_once(open_kernel: Opener) -> None:
    """And the mails beside it are sent."""
    with receiving() as box:
        box.refuses = {TO: "550 no such user"}
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:
            await add(kernel)
            await add(kernel, to="bob@example.org")
            await turn(kernel)
            assert [each.fault for each in await kernel.outbox.failed()] == ["550 no such user"]
    assert len(box.mails) == 1


async def holding(kernel: Kernel, text: str) -> list[str]:
    """The tables of mails and links in which a text stands."""
    return [table for table in ("ww_outbox", "ww_one_time") if text in str(await recorded(kernel, table, "id"))]


async def test_mails_that_were_given_up_go_with_their_user(open_kernel: Opener, clock: FixedClock) -> None:
    """The server's words often repeat the address, long after the link has gone that said whose mail it was."""
    with receiving() as box:
        box.refuses = {address: f"550 no mailbox <{address}>" for address in (TO, "bob@example.org")}
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:
            for name in ("ada", "bob"):
                await join(kernel, name)
                await kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
                for purpose in ("reset", "register"):  # the second one tells that there is an account
                    await kernel.asks.ask(purpose, typed(f"{name}@example.org"), client=HOME)
                user = await kernel.users.find_by(typed(name))
                assert user is not None
                await reset_password(kernel, user.id)
            await turn(kernel)
            assert len(await kernel.outbox.failed()) == 6
            clock.advance(DAY)
            await sweeping.sweep(kernel.database, clock.now())
            assert await recorded(kernel, "ww_one_time", "id") == []
            ada = await kernel.users.find_by(typed("ada"))
            assert ada is not None
            await operator(kernel).delete(ada)
            assert await holding(kernel, TO) == []
            assert len(await kernel.outbox.failed()) == 3, "and no one else's"


async def test_a_mail_that_waits_is_sent_to_a_deleted_user_or_forgotten(open_kernel: Opener, clock: FixedClock) -> None:
    """Someone who took the account over and closed it keeps no notice back; one that cannot be sent is not kept."""
    with receiving() as box:
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:
            for refusal in ({}, {TO: f"550 no mailbox <{TO}>"}):
                box.refuses = {TO: "451 later"}
                user = await join(kernel, "ada")
                await kernel.database.run("UPDATE ww_users SET email_verified_at = 1")
                await reset_password(kernel, user.id)
                await turn(kernel)
                await operator(kernel).delete(user)
                assert await holding(kernel, TO) == ["ww_outbox"]
                box.refuses = refusal
                clock.advance(WAITS[0])
                assert await turn(kernel) == 1
                assert await holding(kernel, TO) == []
    assert box.subjects(TO) == ["Your password was changed"]


async def test_links_that_are_no_ones_yet_go_with_the_address(kernel: Kernel) -> None:
    """However many a stranger asked for; what another user is about to do with the address stays."""
    ada, bob = await join(kernel, "ada"), await join(kernel, "bob")

    async def asked(tx: Tx) -> None:
        for purpose in ("reset", "login", "verify", "register"):
            for _ in range(sweeping.ROWS // 4 + 1):
                await kernel.one_time.issue(tx, purpose, TO, detail={"email": TO})
        await kernel.one_time.issue(tx, "reset", "bob@example.org", detail={})
        await kernel.one_time.issue(tx, "change", TO, user_id=bob.id, detail={"email": TO})

    await kernel.database.transact(asked)
    await operator(kernel).delete(ada)
    left = await recorded(kernel, "ww_one_time", "id")
    assert [(row["purpose"], row["user_id"]) for row in left] == [("reset", None), ("change", bob.id)]


async def test_a_link_that_has_expired_is_not_sent(open_kernel: Opener, clock: FixedClock) -> None:
    """Nor sent again by command."""
    with receiving() as box:
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:

            async def unit(tx: Tx) -> None:
                issued = await kernel.one_time.issue(tx, "undo", TO, user_id="u", detail={})
                await kernel.outbox.add(tx, "address_changed", recipient=TO, language="", user_id=None, one_time=issued)

            await kernel.database.transact(unit)
            clock.advance(7 * 24 * HOUR)
            assert await turn(kernel) == 1
            (failed,) = await kernel.outbox.failed()
            assert failed.fault == "it would come too late"
            assert await kernel.outbox.retry(None) == 0
    assert box.mails == []


@pytest.mark.sqlite
async def test_no_link_and_no_code_is_ever_in_the_database(open_kernel: Opener, tmp_path: Path) -> None:
    """Neither before the mail is sent nor after; the seed, from which they come, goes with the mail."""
    with receiving() as box:
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:

            async def unit(tx: Tx) -> str:
                issued = await kernel.one_time.issue(tx, "undo", TO, user_id="u", detail={})
                await kernel.outbox.add(tx, "address_changed", recipient=TO, language="", user_id=None, one_time=issued)
                return issued.seed

            seed = await kernel.database.transact(unit)
            before = file_contents(kernel)
            await turn(kernel)
            token = box.link(TO)
            (row,) = await recorded(kernel, "ww_one_time", "id")
            assert token.encode() not in before + file_contents(kernel)
            assert seed.encode() in before
            assert seed not in str(row)
            assert await recorded(kernel, "ww_outbox", "id") == []


async def test_a_mail_survives_a_new_master_secret(kernel: Kernel) -> None:
    """While the old one is listed; without it the link cannot be made, and no wrong one is sent."""

    async def unit(tx: Tx) -> tuple[str, str]:
        issued = await kernel.one_time.issue(tx, "undo", TO, user_id="u", detail={})
        return issued.id, issued.seed

    made = await kernel.database.transact(unit)
    from watchword.identity.keys.master import Master

    old, new = kernel.master._secrets[0], bytes(range(32))
    clock = kernel.clock
    assert await OneTime(kernel.database, Master((new, old)), clock).derive(*made) is not None
    assert await OneTime(kernel.database, Master((new,)), clock).derive(*made) is None


async def test_a_full_turn_goes_on_until_nothing_is_due(open_kernel: Opener) -> None:
    """More than one batch in one turn."""
    with receiving() as box:
        async with open_kernel(smtp_url=box.url, mail_from="no-reply@example.com") as kernel:
            for number in range(2 * AT_ONCE + 1):
                await add(kernel, to=f"user-{number}@example.org")
            assert await turn(kernel) == 2 * AT_ONCE + 1
    assert len(box.mails) == 2 * AT_ONCE + 1


async def test_beyond_this_machine_nothing_is_printed(open_kernel: Opener) -> None:
    """Without a mail server a public service writes no mail: a link in its log would be a key to an account."""
    async with open_kernel(public_url="https://auth.example.com", trusted_proxies="1") as kernel:
        await add(kernel)
        assert await recorded(kernel, "ww_outbox", "id") == []
        assert kernel.post is None
