"""The commands about guard keys."""

from __future__ import annotations

import sys

import msgspec

from watchword.cli.asking import confirm
from watchword.cli.exits import MISSING, CommandError
from watchword.cli.people import print_json, require_database, with_kernel
from watchword.cli.show import print_table
from watchword.clock import rfc3339
from watchword.errors import NotFound
from watchword.identity.audit import LOCAL
from watchword.identity.guard_keys import GuardKey
from watchword.identity.kernel import Kernel
from watchword.settings import Settings


def create(settings: Settings, name: str, *, as_json: bool) -> None:
    """Make a guard key and print it, once: alone on standard output, so that it can be piped into a file."""

    async def work(kernel: Kernel) -> tuple[GuardKey, str]:
        return await kernel.guard_keys.create(name, client=LOCAL)

    key, secret = with_kernel(settings, work)
    if as_json:
        print_json({**_plain(key), "key": secret})
        return
    print(secret)
    sys.stderr.write(f"hint: this is the key of {name}; it is not shown again\n")


def show_list(settings: Settings, *, as_json: bool) -> None:
    """Print every guard key, without the keys themselves."""

    async def work(kernel: Kernel) -> list[GuardKey]:
        return await kernel.guard_keys.all()

    keys = [_plain(key) for key in with_kernel(settings, work)]
    if as_json:
        print_json({"items": keys})
        return
    names = ("name", "created_at", "last_used_at", "revoked_at")
    print_table(
        ("name", "made", "last used", "revoked"), [tuple(str(key[name] or "") for name in names) for key in keys]
    )


def revoke(settings: Settings, name: str, *, yes: bool, as_json: bool) -> None:
    """Refuse a guard key from now on."""
    require_database(settings)
    confirm(f"This refuses the guard key of {name!a} for ever. Go on?", yes=yes)

    async def work(kernel: Kernel) -> GuardKey:
        try:
            return await kernel.guard_keys.revoke(name, client=LOCAL)
        except NotFound as error:
            trouble = f"there is no guard key {name!a} in use"
            raise CommandError(trouble, "watchword guards list shows which there are", MISSING) from error

    key = with_kernel(settings, work)
    if as_json:
        print_json(_plain(key))
        return
    print(f"The guard key of {key.name} is refused from now on.")


def _plain(key: GuardKey) -> dict[str, object]:
    fields: dict[str, object] = msgspec.to_builtins(key)
    return {
        name: rfc3339(value) if name.endswith("_at") and isinstance(value, int) else value
        for name, value in fields.items()
    }
