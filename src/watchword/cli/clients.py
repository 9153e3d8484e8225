"""Makes, lists and changes service accounts: `watchword clients`."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from watchword.cli.asking import Yes, confirm
from watchword.cli.exits import CODES_HELP, MISSING, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import require_database, with_kernel
from watchword.cli.printing import Json, print_json, print_table
from watchword.errors import NotFound

if TYPE_CHECKING:
    from watchword.identity.kernel import Kernel
    from watchword.identity.service_accounts.account import Account

T = TypeVar("T")

group = typer.Typer(
    help="Service accounts: programs with scopes of their own.", epilog=CODES_HELP, no_args_is_help=True
)

Name = Annotated[str, typer.Argument(help="The service account's name.")]
_MANY = "may be given several times."
_LARGEST_KEY = 32 * 1024


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def create(
    *,
    name: Name,
    scope: Annotated[list[str], typer.Option("--scope", help=f"A scope that its tokens may have; {_MANY}")],
    api: Annotated[
        list[str] | None, typer.Option("--api", help=f"An API that it gets tokens for, by name; {_MANY}")
    ] = None,
    serves: Annotated[
        str | None,
        typer.Option(
            "--serves", help="The API that it is, by name; else it has the service's own audience.", metavar="API"
        ),
    ] = None,
    exchange_to: Annotated[
        list[str] | None,
        typer.Option("--exchange-to", help=f"An API that it may call for users, by name; {_MANY}", metavar="API"),
    ] = None,
    introspect: Annotated[bool, typer.Option("--introspect", help="Let it ask about every token.")] = False,
    public_key: Annotated[
        Path | None,
        typer.Option(
            "--public-key", help="A file with its public key, PEM or JWK, in place of a secret.", metavar="FILE"
        ),
    ] = None,
    key_algorithm: Annotated[
        str | None, typer.Option("--key-algorithm", help="What the key signs with, such as PS256.", metavar="NAME")
    ] = None,
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Make a service account, and print its id and its secret, once."""
    from watchword.identity.service_accounts.accounts import NewAccount

    key = None if public_key is None else _read(public_key)
    wanted = NewAccount(
        name, scope, api or (), serves=serves, exchanges=exchange_to or (), introspects=introspect, public_key=key,
        algorithm=key_algorithm,
    )  # fmt: skip

    async def work(kernel: Kernel) -> tuple[dict[str, object], str | None]:
        from watchword.identity.audit import LOCAL

        account, secret = await kernel.service_accounts.create(wanted, client=LOCAL)
        return _plain(kernel, account), secret

    try:
        made, secret = with_kernel(load_settings(flags).settings, work)
    except NotFound as error:
        raise CommandError(str(error), "`watchword apis list` shows which there are", MISSING) from error
    _show(made, secret, as_json=as_json)


@group.command("list", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def list_clients(*, as_json: Json = False, flags: dict[str, object]) -> None:
    """List service accounts by name, without their secrets."""

    async def work(kernel: Kernel) -> list[dict[str, object]]:
        return [_plain(kernel, each) for each in await kernel.service_accounts.all()]

    found = with_kernel(load_settings(flags).settings, work)
    if as_json:
        print_json({"items": found})
        return
    heads = ("name", "id", "scope", "apis", "shows", "disabled_at", "last_used_at", "serves", "exchanges_to")
    rows = [tuple(_text(each[head]) for head in heads) for each in found]
    print_table(("name", "id", "scopes", "APIs", "shows", "disabled", "last used", "serves", "exchanges to"), rows)


@group.command("rotate-secret", epilog=CODES_HELP)
@takes_settings(*STORAGE)
def rotate_secret(
    *,
    name: Name,
    overlap: Annotated[
        str, typer.Option("--overlap", help="How long the former secret goes on; 0s ends it and its tokens at once.")
    ] = "1d",
    as_json: Json = False,
    flags: dict[str, object],
) -> None:
    """Give a service account a new secret, and print it, once."""
    from watchword.settings.values import DAY, Unfit, duration

    try:
        seconds = int(duration(0, 30 * DAY)(overlap).total_seconds())
    except Unfit as error:
        raise CommandError(
            f"--overlap {overlap!a} is no such time", "write 1d, 12h or 0s; at most 30d", USAGE
        ) from error

    async def work(kernel: Kernel) -> tuple[dict[str, object], str]:
        from watchword.identity.audit import LOCAL

        account, secret = await kernel.service_accounts.rotate_secret(name, overlap=seconds, client=LOCAL)
        return _plain(kernel, account), secret

    changed, secret = _found(name, work, flags)
    _show(changed, secret, as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def disable(*, name: Name, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """Refuse a service account and its tokens within a second, until it is enabled."""
    require_database(load_settings(flags).settings)
    confirm(f"This refuses the service account {name!a} and its tokens. Go on?", yes=yes)

    async def work(kernel: Kernel) -> dict[str, object]:
        from watchword.identity.audit import LOCAL

        return _plain(kernel, await kernel.service_accounts.disable(name, client=LOCAL))

    _tell(_found(name, work, flags), "is disabled", as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def enable(*, name: Name, as_json: Json = False, flags: dict[str, object]) -> None:
    """Let a disabled service account in again. Its tokens from before stay refused."""

    async def work(kernel: Kernel) -> dict[str, object]:
        from watchword.identity.audit import LOCAL

        return _plain(kernel, await kernel.service_accounts.enable(name, client=LOCAL))

    _tell(_found(name, work, flags), "is enabled", as_json=as_json)


@group.command(epilog=CODES_HELP)
@takes_settings(*STORAGE)
def delete(*, name: Name, yes: Yes = False, as_json: Json = False, flags: dict[str, object]) -> None:
    """Delete a service account: it and its tokens are refused within a second."""
    require_database(load_settings(flags).settings)
    confirm(f"This deletes the service account {name!a}, and refuses its tokens. Go on?", yes=yes)

    async def work(kernel: Kernel) -> dict[str, object]:
        from watchword.identity.audit import LOCAL

        return _plain(kernel, await kernel.service_accounts.delete(name, client=LOCAL))

    _tell(_found(name, work, flags), "is no more", as_json=as_json)


def _found(name: str, work: Callable[[Kernel], Awaitable[T]], flags: dict[str, object]) -> T:
    try:
        return with_kernel(load_settings(flags).settings, work)
    except NotFound as error:
        hint = "`watchword clients list` shows which there are, and what they are"
        raise CommandError(f"there is no service account {name!a} of which this is possible", hint, MISSING) from error


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST_KEY + 1)[: _LARGEST_KEY + 1].decode()
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{str(path)!a} cannot be read", "give a file with a public key", MISSING) from error


def _show(account: dict[str, object], secret: str | None, *, as_json: bool) -> None:
    if as_json:
        print_json(account | ({} if secret is None else {"secret": secret}))
        return
    print(f"client_id={account['id']}")
    if secret is not None:
        print(f"client_secret={secret}")
        sys.stderr.write(f"hint: this is the secret of {account['name']}; it is not shown again\n")


def _tell(account: dict[str, object], what: str, *, as_json: bool) -> None:
    if as_json:
        print_json(account)
    else:
        print(f"The service account {account['name']} {what}.")


def _plain(kernel: Kernel, account: Account) -> dict[str, object]:
    from watchword.clock import rfc3339

    def time(at: int | None) -> str | None:
        return None if at is None else rfc3339(at)

    return {
        "id": account.id,
        "name": account.name,
        "scope": " ".join(account.scopes),
        "apis": kernel.service_accounts.names_of(account.apis),
        # The id of one that is no more: without it the account would seem to have the service's own audience.
        "serves": next(iter(kernel.service_accounts.names_of((account.serves,))), account.serves) or None,
        "exchanges_to": kernel.service_accounts.names_of(account.exchanges),
        "introspects": account.introspects,
        "shows": "secret" if account.public_key is None else "key",
        "created_at": time(account.created_at),
        "disabled_at": time(account.disabled_at),
        "last_used_at": time(account.last_used_at),
    }


def _text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value or "")
