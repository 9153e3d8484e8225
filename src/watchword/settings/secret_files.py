"""Reading a secret from a file that nobody else can read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from watchword.platforms import mode_of
from watchword.settings.values import Unfit

_LARGEST = 4096
_OTHERS = stat.S_IROTH | stat.S_IWOTH


def read_secret_file(path: Path) -> str:
    """The text of a secret file, without the line break at its end.

    :raises Unfit: when it cannot be read, or when every user of the machine could read or replace it.
    """
    try:
        with path.open("rb") as file:
            # The open file is asked, not the path: nobody swaps it between the two.
            mode = mode_of(os.fstat(file.fileno()))
            raw = file.read(_LARGEST + 1)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise Unfit(f"cannot read {path}: {reason}", "check the path and its owner") from None
    if mode & _OTHERS:
        raise Unfit(
            f"{path} can be read by every user of this machine",
            f"chmod 600 {path} (a mounted secret: mode 0400), and replace the secret if others had access",
        )
    if len(raw) > _LARGEST:
        raise Unfit(f"{path} is too large for a secret", "give a file that holds nothing but the secret")
    try:
        text = raw.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise Unfit(f"{path} is not text", "keep the secret as base64url; make one with: watchword secret") from None
    if not text.strip():
        raise Unfit(f"{path} is empty", "make a secret with: watchword secret")
    return text
