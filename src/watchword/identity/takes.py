"""What an attempt counts against: every limit of what is attempted, for its address, account, device or mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from watchword.addresses import network, shares
from watchword.settings import Limit
from watchword.settings.row import CountedBy, Limited
from watchword.settings.table import LIMITS


class Take(NamedTuple):
    """One attempt against one limit: its name, the counted subject, a factor of the quota, whether its window grows."""

    limit: str
    subject: str
    times: int = 1
    grows: bool = False


OCCASIONS = {
    occasion: tuple(
        (by, row) for by in CountedBy for row in LIMITS if row.occasion == occasion and by in row.counted_by
    )
    for occasion in dict.fromkeys(row.occasion for row in LIMITS)
}
"""Occasion → its limits, in the order of counting."""


OCCASION_OF = {row.limit: row.occasion for row in LIMITS}


def policies_of(limits: Mapping[str, Limit | None]) -> dict[str, Limit]:
    """Return occasion → what anyone may know of its limits: the one of its name, or else the first that is on.

    It is the same for everyone and at any time: which limit is used up, and how far, would tell what others do.
    """
    found: dict[str, Limit] = {}
    for row in LIMITS:
        limit = limits.get(row.limit)
        if limit is not None and (row.limit == row.occasion or row.occasion not in found):
            found[row.occasion] = limit
    return found


def takes_of(
    occasion: str,
    address: str | None,
    account: str | None,
    *,
    device: str | None = None,
    handle: str | None = None,
) -> tuple[Take, ...]:
    """Return every limit of an occasion, for one attempt.

    The address comes first: a flood from one place uses that up before it closes an account.

    :param address: None counts nothing by address: a guard asks for many, who must not use up each other's quota.
    :param account: None counts nothing by account.
    :param device: a known device of this account; what strangers have used up is then not asked.
    :param handle: the handle of the mail that a proof came by, or the id of the API key.
    :raises ValueError: for a limit of accounts only, without an account; of mails or keys, without a handle.
    """
    rows = OCCASIONS[occasion]
    if device is None or not any(by is CountedBy.DEVICE for by, _ in rows):
        return tuple(take for by, row in rows for take in _takes(by, row, address, account, handle))
    return tuple(take for by, row in rows for take in _takes_of_known(by, row, address, f"{account}", device))


def _takes_of_known(by: CountedBy, row: Limited, address: str | None, account: str, device: str) -> tuple[Take, ...]:
    """Count a known device, and apart from strangers all of one account and all at one address.

    Else anyone with accounts of their own could have as many hashes made as they collect devices.
    """
    if by is CountedBy.DEVICE:
        return (Take(row.limit, f"{device} {account}"),)
    if by is CountedBy.ADDRESS_AND_ACCOUNT:
        return ()
    takes = _takes(by, row, address, account, None)
    return tuple([take._replace(subject=f"known {take.subject}", grows=False) for take in takes])


def _takes(
    by: CountedBy, row: Limited, address: str | None, account: str | None, handle: str | None
) -> tuple[Take, ...]:
    if by is CountedBy.DEVICE:
        return ()
    if by is CountedBy.ADDRESS:
        return () if address is None else address_takes(row.limit, address)
    if by in (CountedBy.MAIL, CountedBy.KEY):
        if handle is None:
            raise ValueError(f"{row.name} counts by {by.name.lower()}, and there is none")
        return (Take(row.limit, handle),)
    if account is None:
        if CountedBy.ADDRESS not in row.counted_by:
            raise ValueError(f"{row.name} counts by account, and there is none")
        return ()
    if by is CountedBy.ADDRESS_AND_ACCOUNT:
        return () if address is None else (Take(row.limit, f"{network(address)} {account}"),)
    # A limit that also counts addresses: an account must not be named like one.
    alone = row.counted_by == (CountedBy.ACCOUNT,)
    return (Take(row.limit, account if alone else f"account {account}", grows=row.grows),)


def address_takes(limit: str, address: str) -> tuple[Take, ...]:
    """Count an address's networks, the wider ones with a greater quota."""
    return tuple([Take(limit, name, times) for name, times in shares(address)])
