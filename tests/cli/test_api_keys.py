"""`watchword api-keys …`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.identity.scenes import HOME, claims_of, join, log_in
from watchword.identity.api_keys import NewKey
from watchword.identity.rights import EVERYTHING
from watchword.opening import opened
from watchword.settings import Settings


async def two_keys(folder: Path) -> list[str]:
    """The ids of keys of two users, and the first key itself."""
    async with opened(Settings(data_dir=folder)) as kernel:
        found = []
        for name in ("ada", "bob"):
            await join(kernel, name)
            caller = claims_of(kernel, await log_in(kernel, name))
            record, key = await kernel.api_keys.create(caller, NewKey(f"{name}'s", EVERYTHING, 3600), client=HOME)
            found += [record.id, key]
        return found


async def test_keys_are_listed_without_their_secrets_and_revoked(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    ada, key, bob, _ = await two_keys(folder)
    where = {"WATCHWORD_DATA_DIR": str(folder)}
    listed = run("api-keys", "list", **where)
    assert listed.code == 0, listed.err
    assert [line.split("\t")[0] for line in listed.out.splitlines()] == [ada, bob]
    assert key not in listed.out
    items = json.loads(run("api-keys", "list", "--user", "bob", "--json", **where).out)["items"]
    assert [(each["id"], each["name"], each["last_used_at"]) for each in items] == [(bob, "bob's", None)]
    first = json.loads(run("api-keys", "list", "--limit", "1", "--json", **where).out)
    assert first["next_cursor"] == ada
    assert json.loads(run("api-keys", "list", "--after", ada, "--json", **where).out)["items"][0]["id"] == bob

    assert run("api-keys", "revoke", ada, **where).code == 2, "it asks first"
    slip = run("api-keys", "revoke", key, "--yes", **where)
    assert slip.code == 2
    assert key not in slip.out + slip.err
    assert run("api-keys", "revoke", ada, "--yes", **where).out == "The API key is revoked.\n"
    assert run("api-keys", "revoke", ada, "--yes", **where).code == 3
    assert [line.split("\t")[0] for line in run("api-keys", "list", **where).out.splitlines()] == [bob]
