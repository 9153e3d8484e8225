"""Lists, rotates and revokes signing keys: `watchword keys`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, FAULT, MISSING, USAGE, CommandError, warn
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, print_json, print_table
from watchword.errors import NotFound

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.keys.store import Revoked, StoredKey
    from watchword.tokens.rotation import KeyState

group = typer.Typer(help="The keys that sign access tokens.", epilog=CODES_HELP, no_args_is_help=True)

_SHOWN = "`watchword keys list` shows them"
_HEADS = ("kid", "algorithm", "status", "created", "activated", "retired", "published until")
_SHARED = "tokens are signed with WATCHWORD_JWT_SECRET, which is in no list; these keys sign nothing"
_STAYS_GOOD = "access tokens are signed with WATCHWORD_JWT_SECRET, and stay good: revoking a key does not touch them"
_REPLACE_IT = (
    "give the service and every API that verifies another one; until then `watchword db restored` refuses every token,"
    " and all users log in again"
)
_MEANING = (
    "a verifier that keeps an older key set, and does not look again when it meets an unknown key, refuses new tokens"
    " until it does; wait until {}, or go on if no such verifier matters to you"
)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_keys(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List every signing key, oldest first: what it does, since when, and until when it is published."""
    settings = load_settings(flags).settings

    async def work(kernel: Kernel) -> list[StoredKey]:
        return await kernel.keys.store.all()

    keys = [_plain(key) for key in with_kernel(settings, work)]
    if as_json:
        print_json({"items": keys})
        return
    print_table(_HEADS, [tuple(value or "" for value in key.values()) for key in keys])
    if settings.jwt_secret is not None:
        sys.stderr.write(f"hint: {_SHARED}\n")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret", "algorithm")
def rotate(*, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """Let the next key sign now. Tokens signed so far stay good. Asks first if others may not know the next key yet."""
    from watchword.clock import rfc3339

    settings = load_settings(flags).settings
    if settings.jwt_secret is not None:
        raise CommandError(f"there is nothing to rotate: {_SHARED}", _REPLACE_IT, FAULT)

    async def work(kernel: Kernel) -> tuple[str, str, int | None]:
        from watchword.identity.audit import LOCAL
        from watchword.identity.granting import unchecked
        from watchword.tokens.rotation import published_long_enough, published_until, signing_pair

        pair = signing_pair(await kernel.keys.store.published(), settings.algorithm)
        if pair is None:
            raise CommandError("there is no active signing key", "the service makes one when it starts", FAULT)
        active, upcoming = pair
        now = kernel.clock.now()
        if upcoming is None or not published_long_enough(upcoming, now):
            _warn_of_the_unknown(upcoming, now)
            confirm("Let it sign now?", yes=yes)
        signing = await kernel.keys.store.promote(active, upcoming, client=LOCAL, check=unchecked)
        retired = {key.kid: key for key in await kernel.keys.store.published()}[active.kid]
        return signing, retired.kid, published_until(retired)

    signing, retired, until = with_kernel(settings, work)
    leaves = None if until is None else rfc3339(until)
    if as_json:
        print_json({"signing": signing, "retired": retired, "published_until": leaves})
        return
    print(f"Key {signing} signs from now on.")
    print(f"Key {retired} signs no more; it is published until {leaves}, and its tokens stay good.")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE, "jwt_secret")
def revoke(
    *,
    kid: Annotated[str | None, typer.Argument(help="Which key, as `watchword keys list` shows it.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every key that is published.")] = False,
    yes: Yes = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """In an emergency: refuse what a key has signed, at once and for ever. No user is logged out."""
    if kid is not None and every:
        raise CommandError(f"both the key {kid!a} and --all are given: say which key, or --all", _SHOWN, USAGE)
    if kid is None and not every:
        raise CommandError("say which key, or --all", _SHOWN, USAGE)
    settings = load_settings(flags).settings
    if settings.jwt_secret is not None:
        _say_what_stays_good(every=every)
    require_database(settings)
    signed = "every published key has" if kid is None else f"the key {kid!a} has"
    confirm(f"This refuses for ever what {signed} signed. Go on?", yes=yes)

    async def work(kernel: Kernel) -> Revoked:
        from watchword.identity.audit import LOCAL
        from watchword.identity.granting import unchecked

        kids = None if kid is None else (kid,)
        return await kernel.keys.store.revoke(kids, client=LOCAL, check=unchecked)

    try:
        done = with_kernel(settings, work)
    except NotFound as error:
        raise CommandError(f"there is no signing key {kid!a}", _SHOWN, MISSING) from error
    if kid is None and not done.kids:
        raise CommandError(
            "no key is published: nothing was revoked", "`watchword keys list` shows what there is", FAULT
        )
    _print_revoked(done, kid, as_json=as_json)


def _say_what_stays_good(*, every: bool) -> None:
    if every:  # the operator wants every token refused: keys alone are not enough
        raise CommandError(_STAYS_GOOD, _REPLACE_IT, FAULT)
    warn(_STAYS_GOOD, _REPLACE_IT)


def _print_revoked(done: Revoked, kid: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json({"revoked": done.kids, "signing": done.signing})
        return
    if not done.kids:
        print("It was revoked already.")
    for revoked in done.kids:
        print(f"Key {revoked} is revoked: running services and guards refuse its tokens within a second.")
    for signing in done.signing:
        print(f"Key {signing} signs from now on. No user is logged out: clients refresh as they do at expiry.")
    if kid is not None and done.kids:
        sys.stderr.write(
            "hint: a thief with the database and the master secret has the next key too: "
            "run `watchword keys revoke --all`\n"
        )


def _warn_of_the_unknown(upcoming: KeyState | None, now: int) -> None:
    from watchword.clock import rfc3339
    from watchword.tokens.rotation import PUBLISHED_BEFORE_USE

    if upcoming is None:
        soonest = rfc3339(now + PUBLISHED_BEFORE_USE)
        warn("there is no next key: one that no verifier has seen would sign", _MEANING.format(soonest))
        return
    minutes = max(now - upcoming.created_at, 0) // 60
    since = f"{minutes // 60} h {minutes % 60} min"
    soonest = rfc3339(upcoming.created_at + PUBLISHED_BEFORE_USE)
    warn(f"the next key has been published for {since} only, not for a day", _MEANING.format(soonest))


def _plain(key: StoredKey) -> dict[str, str | None]:
    from watchword.clock import rfc3339
    from watchword.tokens.rotation import published_until

    state = key.state
    until = key.revoked_at or published_until(state)
    times = (state.created_at, state.activated_at, state.retired_at, until)
    created, activated, retired, leaves = (None if time is None else rfc3339(time) for time in times)
    return {
        "kid": state.kid,
        "algorithm": state.algorithm,
        "status": state.status,
        "created_at": created,
        "activated_at": activated,
        "retired_at": retired,
        "published_until": leaves,
    }
