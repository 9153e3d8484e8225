"""The feed over HTTP: who may read it, how it is asked, and that nobody's place stays taken."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.client import bearer, fields, refused
from tests.features.api import Api, served
from tests.identity.scenes import HOME
from watchword.identity.feed import MAX_WAITING
from watchword.identity.revocation import SKEW


async def _guard_key(api: Api, name: str = "orders") -> str:
    return (await api.kernel.guard_keys.create(name, client=HOME))[1]


async def _cursor(api: Api) -> str:
    return str((await api.get("/revocations")).json()["cursor"])


async def _waiting(api: Api, number: int) -> None:
    for _ in range(200):
        if api.kernel.feed._waiting == number:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(api.kernel.feed._waiting)


async def test_E7_a_log_out_is_in_the_feed(api: Api) -> None:
    """The session, until its last access token has expired and the clocks that are behind have caught up."""
    cursor, token = await _cursor(api), await api.newcomer()
    assert (await api.as_bearer("POST", "/logout", token)).status_code == 204
    answer = await api.get("/revocations", params={"after": cursor})
    page = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert set(page) == {"feed_id", "cursor", "as_of", "keys", "reset", "entries", "more"}
    (entry,) = page["entries"]
    assert entry == {
        "kind": "session",
        "subject": api.kernel.verifier.verify_expired(token).sid,
        "min_version": None,
        "expires_at": api.clock.now() + 900 + SKEW,
    }
    assert (page["reset"], page["more"], page["as_of"]) == (False, False, api.clock.now())


async def test_its_version_of_the_keys_is_the_tag_of_the_key_set(api: Api) -> None:
    """So a guard can tell whether what it fetched is what was announced."""
    tag = (await api.get("/.well-known/jwks.json")).headers["etag"]
    assert f'"{(await api.get("/revocations")).json()["keys"]}"' == tag


async def test_who_waits_is_answered_by_a_log_out(api: Api) -> None:
    """The log-out itself ends the wait, long before its time is over."""
    cursor, token = await _cursor(api), await api.newcomer()
    asking = asyncio.create_task(api.get("/revocations", params={"after": cursor}))
    await _waiting(api, 1)
    assert (await api.as_bearer("POST", "/logout", token)).status_code == 204
    assert len((await asking).json()["entries"]) == 1


async def test_wait_0_and_other_keys_are_answered_at_once(api: Api) -> None:
    """Without news: the same cursor and no entries."""
    cursor = await _cursor(api)
    for more in ({"wait": "0"}, {"keys": "others"}):
        answer = await asyncio.wait_for(api.get("/revocations", params={"after": cursor, **more}), 1)
        assert (answer.json()["entries"], answer.json()["cursor"]) == ([], cursor)


@pytest.mark.parametrize("cursor", ["x", "a.b", "a.-1", "1", ".1", "a." + "9" * 30, "a.1 OR 1=1", "a.1\r\nx", "٣.٣"])
async def test_J6_a_cursor_that_no_answer_gave(api: Api, cursor: str) -> None:
    """422, the field named; a cursor is digits, never SQL."""
    answer = await api.get("/revocations", params={"after": cursor})
    assert fields(answer) == {"after": "cursor"}


@pytest.mark.parametrize("query", ["after=a.1&after=a.2", "wait=%zz", "&".join(f"x{n}=1" for n in range(30))])
async def test_a_query_that_cannot_be_read(api: Api, query: str) -> None:
    """A parameter sent twice, bad escapes, too many: 400."""
    refused(await api.get(f"/revocations?{query}"), 400, "invalid_request")


# Who may read it -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("public_url", "address", "hops", "open_to_all"),
    [
        (None, "127.0.0.1", 0, True),
        (None, "::1", 0, True),
        (None, "::ffff:127.0.0.1", 0, True),
        (None, "192.0.2.7", 0, False),
        (None, "127.0.0.1", 1, False),  # a proxy of ours tells of a client elsewhere
        ("https://auth.example", "127.0.0.1", 0, False),  # what comes through a proxy comes from loopback, too
        ("https://auth.example", "192.0.2.7", 0, False),
        ("https://auth.example", "::1", 0, False),
    ],
)
async def test_beyond_loopback_a_guard_key_is_needed(
    tmp_path: Path, public_url: str | None, address: str, hops: int, open_to_all: bool
) -> None:
    """Open only where both the public URL and the client are on this machine."""
    async with served(tmp_path, public_url=public_url, docs="on", trusted_proxies=hops, email_login="off") as api:
        asker = api.elsewhere(address)
        forwarded = {"X-Forwarded-For": "203.0.113.5"}
        answer = await asker.get("/revocations", headers=forwarded)
        if open_to_all:
            assert answer.status_code == 200
        else:
            assert "feed_id" not in refused(answer, 401, "guard_key_needed")
            assert answer.headers["www-authenticate"].startswith("Bearer")
        assert answer.headers["cache-control"] == "no-store"
        key = await _guard_key(api)
        assert (await asker.get("/revocations", headers=forwarded | bearer(key))).status_code == 200


async def test_J14_a_revoked_key_is_refused(api: Api) -> None:
    """At once, also on loopback, where none would have been needed; another key is not concerned."""
    keys = [await _guard_key(api, name) for name in ("orders", "stock")]
    away = api.elsewhere()
    assert [(await away.get("/revocations", headers=bearer(key))).status_code for key in keys] == [200, 200]
    await api.kernel.guard_keys.revoke("orders", client=HOME)
    for asker in (away, api):
        refused(await asker.get("/revocations", headers=bearer(keys[0])), 401, "guard_key_invalid")
    assert (await away.get("/revocations", headers=bearer(keys[1]))).status_code == 200


async def test_what_is_no_guard_key(api: Api) -> None:
    """An access token, a refresh token's shape, a key with one letter changed, cut, extended; none asks the database
    for more than it can be."""
    key, token, away = await _guard_key(api), await api.newcomer(), api.elsewhere()
    changed = key[:-1] + ("A" if key[-1] != "A" else "B")
    for wrong in (
        token,
        changed,
        key[:-1],
        key + "A",
        key[4:],
        key.lower(),
        "wwg_",
        "wwr_" + key[4:],
        "wwg_" + "A" * 43,
    ):
        refused(await away.get("/revocations", headers=bearer(wrong)), 401, "guard_key_invalid")
    refused(await away.get("/revocations", params={"guard_key": key}), 401, "guard_key_needed")
    refused(await away.get("/revocations", headers={"Authorization": f"Basic {key}"}), 401, "guard_key_needed")
    refused(await away.get("/revocations", headers={"Authorization": "Bearer a b"}), 400, "authorization_malformed")
    two = [("Authorization", f"Bearer {key}"), ("Authorization", f"Bearer {key}")]
    refused(await away.get("/revocations", headers=two), 400, "invalid_request")


async def test_C7_a_database_that_fails_is_503(api: Api) -> None:
    """With and without a key, for who waits as well: never an old page, never 401."""
    key, cursor = await _guard_key(api), await _cursor(api)
    away = api.elsewhere()
    asking = asyncio.create_task(api.get("/revocations", params={"after": cursor}))
    await _waiting(api, 1)
    await api.kernel.database.close()
    api.kernel.feed.announce()
    refused(await asking, 503, "storage_unavailable")
    refused(await api.get("/revocations"), 503, "storage_unavailable")
    refused(await away.get("/revocations", headers=bearer(key)), 503, "storage_unavailable")


# Places --------------------------------------------------------------------------------------------------------------


class Poll:
    """One long poll by hand, as a server makes it: the client can hang up."""

    def __init__(self, api: Api, after: str, **query: str) -> None:
        self.sent: list[Any] = []
        self._gone = asyncio.Event()
        self._asked = False
        text = "&".join(f"{name}={value}" for name, value in {"after": after, **query}.items())
        scope = {
            "type": "http", "http_version": "1.1", "method": "GET", "path": "/revocations", "root_path": "",
            "query_string": text.encode(), "headers": [], "client": ("127.0.0.1", 1),
        }  # fmt: skip
        self.task = asyncio.create_task(api._app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        self.sent.append(message)

    def hang_up(self) -> None:
        self._gone.set()


async def test_a_client_that_hangs_up_frees_its_place(api: Api) -> None:
    """At once, not after ten seconds; nothing is sent to who is gone, and the others go on waiting."""
    cursor = await _cursor(api)
    gone, staying = [Poll(api, cursor) for _ in range(20)], [Poll(api, cursor) for _ in range(5)]
    await _waiting(api, 25)
    for poll in gone:
        poll.hang_up()
    await asyncio.wait_for(asyncio.gather(*(poll.task for poll in gone)), 1)
    assert api.kernel.feed._waiting == 5
    assert [poll.sent for poll in gone] == [[]] * 20
    await api.as_bearer("POST", "/logout", await api.newcomer())
    await asyncio.wait_for(asyncio.gather(*(poll.task for poll in staying)), 1)
    assert [poll.sent[0]["status"] for poll in staying] == [200] * 5
    assert api.kernel.feed._waiting == 0


async def test_a_storm_of_2000_polls_stays_bounded(api: Api) -> None:
    """A thousand wait, the others are answered at once; all get the same piece of memory when there is news."""
    cursor, token = await _cursor(api), await api.newcomer()
    polls = [Poll(api, cursor) for _ in range(2_000)]
    await _waiting(api, MAX_WAITING)
    for _ in range(100):
        answered = [poll for poll in polls if poll.task.done()]
        if len(answered) == 1_000:
            break
        await asyncio.sleep(0.01)
    assert len(answered) == 1_000
    assert api.kernel.feed._waiting == MAX_WAITING
    assert (await asyncio.wait_for(api.get("/livez"), 1)).status_code == 200
    await api.as_bearer("POST", "/logout", token)
    await asyncio.wait_for(asyncio.gather(*(poll.task for poll in polls)), 3)
    bodies = {id(poll.sent[1]["body"]) for poll in polls if poll not in answered}
    assert len(bodies) == 1
    assert api.kernel.feed._waiting == 0
