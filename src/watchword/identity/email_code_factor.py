"""A code that was sent by e-mail, as a factor: it logs in anyone who reads that mail, on the client that asked."""

from __future__ import annotations

from watchword.clock import Clock
from watchword.errors import Forbidden, Unauthenticated
from watchword.identity.audit import Client
from watchword.identity.factors import Candidate, Factor, Proof
from watchword.identity.one_time import Found, OneTime
from watchword.identity.showing import NOTHING, Brought, Showing, is_held
from watchword.storage.database import Tx, Unit

METHOD = "otp"
"""RFC 8176."""

_REFUSAL = "This code is wrong, was used before, or has expired."


class EmailCodeFactor:
    """Checks codes that were sent by mail."""

    def __init__(self, one_time: OneTime, showing: Showing, clock: Clock) -> None:
        self._one_time = one_time
        self._showing = showing
        self._clock = clock

    def prove(self, handle: str, code: str, *, client: Client, brought: Brought = NOTHING) -> Factor:
        """Return the factor for one attempt. A try is taken for an unknown user too.

        :param brought: the browser's cookies, which may show an account whose address was never confirmed.
        """

        async def prove(candidate: Candidate | None) -> Proof | None:
            found = await self._one_time.try_code(handle, code, ("login",))
            if found is None or candidate is None or not candidate.allowed or found.user_id != candidate.user.id:
                return None
            shown = await self._showing.by(found, brought, client=client)
            return Proof(METHOD, self._used_up(found, shown=shown), verifies=True)

        return Factor(prove, refusal=_REFUSAL, wrong="wrong_code", handle=handle)

    def _used_up(self, found: Found, *, shown: bool) -> Unit[None]:
        """Use the code up in the log-in's unit, and note that the address is the user's.

        Not where someone may be in the account who never confirmed the address: it may be a stranger who waits for the
        owner. The owner sets a password by mail, which ends what the stranger has.
        """

        async def unit(tx: Tx) -> None:
            held = await is_held(tx, found.user_id or "")
            row = await tx.one(
                "UPDATE ww_users SET email_verified_at = COALESCE(email_verified_at, :now)"
                " WHERE id = :id AND email_key = :key RETURNING id",
                now=self._clock.now(),
                id=found.user_id,
                key=found.address_key,
            )
            if row is None or not await self._one_time.use(tx, found):
                raise Unauthenticated(_REFUSAL)
            if held and not shown:
                raise Forbidden("The e-mail address of this account is not confirmed yet.", code="email_unverified")

        return unit
