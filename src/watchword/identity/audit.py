"""Audit records: who did what to whom, when, from where, and how it ended (ASVS 16.3). No HTTP."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from watchword.ids import new_id
from watchword.storage.database import Tx


class Client(NamedTuple):
    """The other end of a request: its address, what it calls itself (at most 256 characters), the request's id."""

    address: str
    agent: str
    request_id: str


LOCAL = Client(address="local", agent="watchword", request_id="")

_INSERT = """
INSERT INTO ww_audit (id, at, event, outcome, actor_id, user_id, session_id, address, agent, request_id, detail)
VALUES (:id, :at, :event, :outcome, :actor, :user, :session, :address, :agent, :request, :detail)
"""


async def record(
    tx: Tx,
    event: str,
    *,
    at: int,
    client: Client,
    outcome: str = "ok",
    actor: str | None = None,
    user: str | None = None,
    session: str | None = None,
    detail: dict[str, str] | None = None,
) -> None:
    """Write one record, in the transaction of what it records. `detail` holds no secret and no personal data."""
    await tx.run(
        _INSERT,
        id=new_id(),
        at=at,
        event=event,
        outcome=outcome,
        actor=actor,
        user=user,
        session=session,
        address=client.address,
        agent=client.agent,
        request=client.request_id,
        detail=msgspec.json.encode(detail or {}).decode(),
    )
