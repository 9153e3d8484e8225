"""`If-None-Match`: a document that the client has already is not sent again (RFC 9110 section 13.1.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from watchword.web.route import Call, Header, Reply

_TAG: Final = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


def unless_known(call: Call, document: bytes, tag: bytes, headers: tuple[Header, ...]) -> Reply:
    """Return the document with its entity tag, or 304 where the client has it.

    :param tag: a strong entity tag with its quotes.
    :param headers: what both answers carry besides the tag.
    """
    carried = (*headers, (b"etag", tag))
    shown = (value for name, value in call.scope["headers"] if name == b"if-none-match")
    return Reply(None, 304, carried) if knows(shown, tag) else Reply(document, 200, carried)


def knows(shown: Iterable[bytes], tag: bytes) -> bool:
    """Tell whether these values of `If-None-Match` are `*` or name the tag; weak and strong tags are compared alike."""
    joined = b",".join(shown).strip(b" \t")  # a list that was sent as several headers is one list
    return joined == b"*" or tag in _TAG.findall(joined)
