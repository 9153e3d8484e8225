"""Decides which paths a prefix covers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

# Some applications decode, collapse, resolve or cut off these.
_AMBIGUOUS: Final = re.compile(r"//|/\.\.?(?:/|\Z)|[%\\;\x00-\x1f\x7f]")
_BELOW: Final = "/*"
# Patterns, addresses and routes have these; no path does.
_NO_LETTER: Final = re.compile(r"[*?#{}<>\s]")

_MOST_PARTS: Final = 32


class Paths:
    """Compares paths with prefixes, segment by segment: `/api` covers `/api` and `/api/…`, not `/apix`.

    No other spelling gets around a prefix. Case is ignored. An ambiguous path (`//`, `/./`, `/../`, `%` after
    decoding, a backslash, `;`, control characters) always needs a token, and one that does not begin with `/`: some
    servers hand over any request target (`GET admin`, `GET x:/admin`), and frameworks add or find the slash.

    :param prefixes: `/` is everything; no prefix is nothing.
    :param except_paths: exact paths that need no token; `/*` at the end means all below.
    :raises ValueError: not a plain path, or an exception for a whole prefix.
    """

    __slots__ = ("_below", "_everything", "_exact", "_except_below", "_except_exact", "_nothing")

    def __init__(self, prefixes: Iterable[str], except_paths: Iterable[str] = ()) -> None:
        roots = [_plain(prefix).rstrip("/").casefold() for prefix in _several(prefixes, "prefixes")]
        exceptions = [_plain(path, below=True) for path in _several(except_paths, "except_paths")]
        if _BELOW in exceptions:
            raise ValueError("guard: an exception for every path would leave nothing guarded")
        for each in exceptions:
            if each.endswith(_BELOW) and any(f"{root}/".startswith(each[:-1].casefold()) for root in roots):
                raise ValueError(f"guard: the exception {each!r} leaves nothing guarded of what lies below it")
        self._nothing = not roots
        self._everything = "" in roots
        self._exact = frozenset(roots)
        self._below = tuple(f"{root}/" for root in roots)
        self._except_exact = frozenset(path for path in exceptions if not path.endswith(_BELOW))
        self._except_below = tuple(path[:-1] for path in exceptions if path.endswith(_BELOW))

    @property
    def everything(self) -> bool:
        """Return whether every path needs a token."""
        return self._everything and not self._except_exact and not self._except_below

    def excepts(self, path: str) -> bool:
        """Return whether a path is an exception."""
        if path in self._except_exact:
            return True
        return bool(self._except_below) and path.startswith(self._except_below) and not _AMBIGUOUS.search(path)

    def guards(self, path: str) -> bool:
        """Return whether a path needs a check. It is decoded, and without the mount point."""
        if self._nothing or path in self._except_exact:
            return False
        if path[:1] != "/" or _AMBIGUOUS.search(path):
            return True
        if self._except_below and path.startswith(self._except_below):
            return False
        folded = path.casefold()
        return self._everything or folded.startswith(self._below) or folded in self._exact

    def guards_any(self, path: str, others: Iterable[str]) -> bool:
        """Return whether a path needs a check that may be read in several ways: a prefix counts in each.

        :param path: the reading that exceptions are written for.
        """
        return self.guards(path) or (any(map(self.guards, others)) and not self.excepts(path))


def with_mount(path: str, whole: str) -> Iterator[str]:
    """Yield a path with all of its mount point, and with each of its last parts.

    A prefix may repeat the mount point, also where a proxy or another mount point comes before it: then it guards too
    much, and never nothing. A mount point that a client makes longer than any is not looked through: that is guarded.
    """
    if whole == path:
        return
    at = 0
    for _ in range(_MOST_PARTS):
        yield whole[at:]
        at = whole.find("/", at + 1)
        if at < 0 or len(whole) - at <= len(path):
            return
    yield ""  # no path, and so guarded


def _several(paths: object, name: str) -> Iterable[str]:
    if isinstance(paths, str | bytes) or not isinstance(paths, Iterable):
        raise TypeError(f"guard: {name} are a list of paths, such as [{paths!r:.100}]")
    return paths


def _plain(path: str, *, below: bool = False) -> str:
    if not isinstance(path, str):
        raise TypeError(f"guard: a path is a text, unlike {path!r}")
    if not path.startswith("/") or _AMBIGUOUS.search(path):
        raise ValueError(f"guard: a path to guard or to leave alone begins with one `/` and is plain, unlike {path!r}")
    if found := _NO_LETTER.search(path.removesuffix(_BELOW) if below else path):
        hint = "`/*` stands at the end of an exception only; a prefix guards all below it anyway"
        raise ValueError(f"guard: {found[0]!r} in {path!r} would be taken as it is, and match nothing: {hint}")
    return path
