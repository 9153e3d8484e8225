"""Shows and replaces what is kept with a user: `watchword users metadata` and `set-metadata`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.exits import CODES_HELP, USAGE, CommandError
from watchword.cli.loading import STORAGE, load_settings, takes_settings
from watchword.cli.opening import by_command, with_kernel
from watchword.cli.printing import print_json
from watchword.cli.users import Who, find_user

if TYPE_CHECKING:
    from watchword.identity.administration import Metadata
    from watchword.identity.kernel import Kernel

_MOST_READ = 65_536  # bytes of standard input
_OBJECT = "A JSON object that replaces the whole one; - reads it from standard input."


def add_to(group: typer.Typer) -> None:
    """Add these commands to `watchword users`."""
    group.command("metadata", epilog=CODES_HELP)(metadata)
    group.command("set-metadata", epilog=CODES_HELP)(set_metadata)


@takes_settings(*STORAGE)
def metadata(*, user: Who, flags: dict[str, object]) -> None:
    """Print a user's metadata as JSON, the private part too."""

    async def work(kernel: Kernel) -> Metadata:
        return await by_command(kernel).metadata((await find_user(kernel, user)).id)

    _print(with_kernel(load_settings(flags).settings, work))


@takes_settings(*STORAGE, "claims")
def set_metadata(
    *,
    user: Who,
    public: Annotated[str | None, typer.Option("--public", help=f"What the user may read. {_OBJECT}")] = None,
    private: Annotated[str | None, typer.Option("--private", help=f"What only operators read. {_OBJECT}")] = None,
    flags: dict[str, object],
) -> None:
    """Replace a user's metadata. Where access tokens carry some of it, earlier ones are refused."""
    if public is None and private is None:
        raise CommandError("give --public, --private, or both", 'such as --public \'{"tenant": "acme"}\'', USAGE)
    if public == private == "-":
        raise CommandError("standard input is one object", "give the other one as an argument", USAGE)
    given = {"public_metadata": _given(public), "private_metadata": _given(private)}

    async def work(kernel: Kernel) -> Metadata:
        from watchword.identity.user_data import metadata_of

        texts = {field: None if data is None else metadata_of(data, field) for field, data in given.items()}
        found = await find_user(kernel, user)
        return await by_command(kernel).set_metadata(
            found, public=texts["public_metadata"], private=texts["private_metadata"]
        )

    _print(with_kernel(load_settings(flags).settings, work))


def _given(text: str | None) -> bytes | None:
    if text == "-":
        return b"" if sys.stdin is None else sys.stdin.buffer.read(_MOST_READ)
    return None if text is None else text.encode("utf-8", "surrogateescape")


def _print(found: Metadata) -> None:
    from watchword.identity.user_data import read_metadata

    print_json({"public_metadata": read_metadata(found.public), "private_metadata": read_metadata(found.private)})
