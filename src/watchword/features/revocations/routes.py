"""The feed over HTTP."""

from __future__ import annotations

from watchword.features.revocations.service import Revocations
from watchword.identity.feed import FeedEntry, FeedPage
from watchword.web.access import bearer_token
from watchword.web.forms import decode_form
from watchword.web.long_poll import unless_gone
from watchword.web.route import Anyone, Call, Credential, Reply, Route

_PAGE = FeedPage(
    feed_id="0197f1a2-9e00-7456-8bcd-445566778899",
    cursor="0197f1a2-9e00-7456-8bcd-445566778899.42",
    as_of=1_795_858_200,
    keys="5d2c9f4e1a7b8360",
    reset=False,
    entries=(FeedEntry("session", "0197f1a2-7c00-7abc-8def-223344556677", None, 1_795_859_100),),
    more=False,
)


class RevocationRoutes:
    """The routes of `Revocations`."""

    def __init__(self, revocations: Revocations) -> None:
        self._revocations = revocations

    def table(self) -> tuple[Route, ...]:
        """Return this feature's routes."""
        return (
            Route(method="GET", path="/revocations", handler=self.follow, access=Anyone(),
                  summary="What has been revoked since a cursor; waits up to 10 seconds for more",
                  answers={200: FeedPage}, credential=Credential.GUARD_KEY, shown={200: _PAGE},
                  problems=("guard_key_needed", "guard_key_invalid", "invalid_input"),
                  query={"after": "`cursor` of the answer before", "keys": "the version of the key set that is known",
                         "wait": "`0` to be answered at once"}),
        )  # fmt: skip

    async def follow(self, call: Call) -> Reply:
        """`GET /revocations?after=<cursor>&keys=<version>`; `wait=0` to be answered at once."""
        query = decode_form(call.scope["query_string"], code="invalid_request")
        asked = self._revocations.page(
            after=query.get("after"),
            known_keys=query.get("keys"),
            wait=query.get("wait") != "0",
            secret=bearer_token(call.scope),
            client=call.client,
        )
        page = await unless_gone(call, asked)
        return Reply(page.encoded)
