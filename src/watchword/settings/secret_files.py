"""Read a secret from a file: accept what the platform mounted, refuse what others could replace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from watchword.platforms import POSIX, is_on_read_only_mount, user
from watchword.settings.values import Unfit
from watchword.settings.written import bare

_LARGEST = 4096


def read_secret_file(path: Path) -> tuple[str, Unfit | None]:
    """Return the text without what editors add, and a warning.

    :raises Unfit: when it cannot be read, or another user could replace it.
    """
    try:
        with path.open("rb") as file:
            # The open file, not the path: no one can swap it in between.
            warning = _looked_at(path, file.fileno())
            raw = file.read(_LARGEST + 1)
    except Unfit:
        raise
    except (OSError, ValueError) as error:  # no file has half of a surrogate pair in its name
        reason = (getattr(error, "strerror", None) or "unreadable").lower()
        raise Unfit(f"cannot read {path}: {reason}", "check the path and its owner") from None
    if len(raw) > _LARGEST:
        raise Unfit(f"{path} is too large for a secret", "give a file that holds nothing but the secret")
    try:
        text = bare(raw.decode("utf-8-sig"))
    except UnicodeDecodeError:
        hint = "save it as UTF-8 with nothing but the secret, which is text: watchword secret prints one"
        raise Unfit(f"{path} is not text in UTF-8", hint) from None
    if not text:
        raise Unfit(f"{path} is empty", "write the secret into it (a master secret is made with: watchword secret)")
    return text, warning


def _looked_at(path: Path, descriptor: int) -> Unfit | None:
    """Warn of a readable file: only the platform can change a mounted secret's 0444 or 0644."""
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        return None  # a pipe or a socket
    if is_strangers(found):
        if not is_on_read_only_mount(descriptor):
            raise Unfit(f"{path} {STRANGERS}", for_owner(path))
        return Unfit(f"{path} {STRANGERS}, on a mount that is read-only", "let it belong to root or to this user")
    if found.st_mode & stat.S_IWOTH and not is_on_read_only_mount(descriptor):
        raise Unfit(
            f"{path} can be replaced by every user of this machine",
            f"chmod 600 {path}, and replace the secret if others had access",
        )
    if found.st_mode & stat.S_IROTH:
        return Unfit(f"{path} can be read by every user of this machine", f"chmod 600 {path} (a mounted secret: 0400)")
    return None


STRANGERS = "belongs to another user, neither to root nor to the one who runs this"


def is_strangers(found: os.stat_result) -> bool:
    """Tell whether a third user owns the file, and can so read and replace it."""
    return POSIX and found.st_uid not in {0, user()}


def for_owner(path: Path) -> str:
    """Return what to do about a third user's file.

    In a directory of the same user it is most often the service's own, and root typed a command. To give it away then
    would lock the service out.
    """
    give = f"chown {user()} {path}"
    if path.stat().st_uid != path.parent.stat().st_uid:
        return f"run: {give}"
    try:
        name = path.owner()
    except KeyError:  # a container's user without a name
        name = f"'#{path.stat().st_uid}'"
    return (
        f"run this as the user who owns it: sudo -u {name} …; only where the service itself runs as this user: {give}"
    )
