"""Adds, tries and repairs webhooks: `watchword webhooks`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.audit_filters import id_of, read_time
from watchword.cli.exits import CODES_HELP, FAULT, MISSING, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, fields, print_json, print_table
from watchword.errors import NotFound

if TYPE_CHECKING:
    from watchword.identity.granting import Operation
    from watchword.identity.kernel import Kernel
    from watchword.identity.webhooks.deliveries import Failed, Replayed
    from watchword.identity.webhooks.endpoints import Endpoint

T = TypeVar("T")
group = typer.Typer(help="Webhooks: tell other programs what happens.", epilog=CODES_HELP, no_args_is_help=True)

Which = Annotated[str, typer.Argument(help="Id of the endpoint.", metavar="ID")]


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def add(
    *,
    url: Annotated[str, typer.Argument(help="Where they go, by POST: an https URL.")],
    events: Annotated[
        str, typer.Option("--events", help="Which, separated by commas: user.created, or user.*, or *.")
    ] = "*",
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="It may lie in a private network, and be http there.")
    ] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Add an endpoint and print its secret, once. Its receiver checks signatures by it."""

    async def work(kernel: Kernel) -> tuple[Endpoint, str]:
        return await kernel.webhooks.add(url, tuple(events.split(",")), private=allow_private, by=_by())

    made, secret = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({**fields(made), "secret": secret})
        return
    print(secret)  # alone on stdout, for a pipe
    sys.stderr.write(f"hint: this is the secret of {made.id}; it is not shown again\n")
    sys.stderr.write(f"hint: `watchword webhooks test {made.id}` tries it\n")


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_endpoints(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List endpoints, and how they do."""

    async def work(kernel: Kernel) -> list[Endpoint]:
        return await kernel.webhooks.all()

    found = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({"items": [fields(each) for each in found]})
        return
    print_table(("id", "url", "events", "state"), [_row(each) for each in found])


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def remove(*, webhook: Which, yes: Yes = False, flags: dict[str, object]) -> None:
    """Remove an endpoint, and what waits for it."""
    settings = load_settings(flags).settings
    require_database(settings)
    confirm(f"This removes the endpoint {webhook!a} and what waits for it. Go on?", yes=yes)
    _with(flags, webhook, lambda kernel: kernel.webhooks.remove(webhook, by=_by()))
    print(f"The endpoint {webhook} is removed.")


@group.command("rotate-secret", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def rotate_secret(
    *,
    webhook: Which,
    at_once: Annotated[
        bool,
        typer.Option("--at-once", help="The former secret signs no more, as after a leak. Else it does for a day."),
    ] = False,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Replace the secret of an endpoint and print the new one, once."""
    secret = _with(flags, webhook, lambda kernel: kernel.webhooks.rotate_secret(webhook, at_once=at_once, by=_by()))
    if as_json:
        print_json({"id": webhook, "secret": secret})
        return
    print(secret)
    until = "signs no more" if at_once else "signs too for a day"
    sys.stderr.write(f"hint: this is not shown again; the former secret {until}\n")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def enable(*, webhook: Which, as_json: Json = False, flags: dict[str, object]) -> None:
    """Send again to an endpoint that the service disabled, from where it stopped."""
    found = _with(flags, webhook, lambda kernel: kernel.webhooks.enable(webhook, by=_by()))
    if as_json:
        print_json(fields(found))
        return
    print(f"The service sends to {found.url} again.")


@group.command("test", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def try_endpoint(*, webhook: Which, flags: dict[str, object]) -> None:
    """Send an event of the type webhook.test now, and say what came of it."""
    outcome = _with(flags, webhook, lambda kernel: kernel.teller.try_now(webhook))
    if outcome.fault:
        raise CommandError(
            f"it was not taken: {outcome.fault}", "a receiver answers with a status of 200 to 299", FAULT
        )
    print("It was taken.")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def failed(*, webhook: Which, as_json: Json = False, flags: dict[str, object]) -> None:
    """List events that were given up at an endpoint, oldest first."""

    async def work(kernel: Kernel) -> list[Failed]:
        await kernel.webhooks.get(webhook)
        return await kernel.deliveries.failed(webhook)

    found = _with(flags, webhook, work)
    if as_json:
        print_json({"items": [fields(each) for each in found]})
        return
    heads = ("event", "type", "user", "given up", "tries", "why")
    print_table(heads, [_failed_row(each) for each in found])
    if found:
        sys.stderr.write(f"hint: `watchword webhooks retry {webhook}` sends them again\n")


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def retry(
    *,
    webhook: Which,
    event: Annotated[str, typer.Option("--event", metavar="ID", help="Only this one.")] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Send again what was given up, at most a thousand at a time."""
    count = _with(flags, webhook, lambda kernel: kernel.deliveries.retry(webhook, event or None, by=_by()))
    if event and not count:
        hint = f"`watchword webhooks failed {webhook}` lists them"
        raise CommandError(f"no event {event!a} was given up there", hint, MISSING)
    _print_again(count, as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def replay(
    *,
    webhook: Which,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="From then on: 2026-11-28, or 12h, or 7d.")
    ] = "",
    user: Annotated[str, typer.Option("--user", help="Only of this user, also a deleted one's id.")] = "",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Send again what an endpoint was told, under the ids that the events had."""
    if not since and not user:
        raise CommandError("neither --since nor --user is given", "say which events to send again", USAGE)

    async def work(kernel: Kernel) -> Replayed:
        begin = read_time("--since", since, kernel.clock.now()) if since else 0
        user_id = await id_of(kernel, user) if user else None
        return await kernel.deliveries.replay(webhook, since=begin, user_id=user_id, by=_by())

    from watchword.clock import rfc3339

    done = _with(flags, webhook, work)
    rest = None if done.rest_since is None else rfc3339(done.rest_since)
    _print_again(done.events, as_json=as_json, rest=rest)
    if rest is not None:
        sys.stderr.write(f"hint: too many wait already; once they are sent, go on with --since {rest}\n")


def _with(flags: dict[str, object], webhook: str, work: Callable[[Kernel], Awaitable[T]]) -> T:
    """Do the work. Raises `CommandError` where there is no such endpoint."""
    try:
        return with_kernel(load_settings(flags).settings, work)
    except NotFound as error:
        hint = "`watchword webhooks list` shows which there are"
        raise CommandError(f"there is no webhook {webhook!a}", hint, MISSING) from error


def _by() -> Operation:
    from watchword.identity.audit import LOCAL
    from watchword.identity.granting import Operation, unchecked

    return Operation(LOCAL, None, unchecked)


def _print_again(count: int, *, as_json: bool, rest: str | None = None) -> None:
    if as_json:
        print_json({"sent_again": count, "rest_since": rest})
    else:
        print(f"{count} will be sent again by the service.")


def _row(endpoint: Endpoint) -> tuple[str, ...]:
    from watchword.clock import rfc3339

    state = "good"
    if endpoint.disabled_at is not None:
        state = f"disabled since {rfc3339(endpoint.disabled_at)}: {endpoint.fault}"
    elif endpoint.failing_since is not None:
        state = f"failing since {rfc3339(endpoint.failing_since)}: {endpoint.fault}"
    return endpoint.id, endpoint.url, " ".join(endpoint.events), state


def _failed_row(each: Failed) -> tuple[str, ...]:
    from watchword.clock import rfc3339

    return each.id, each.type, each.user_id, rfc3339(each.failed_at), str(each.tries), each.fault or ""
