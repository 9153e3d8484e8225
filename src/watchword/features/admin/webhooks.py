"""Webhooks over HTTP, for administrators. What leads into private networks is an operator's command's alone."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from watchword.features.admin.gate import Gate
from watchword.features.admin.views import SOMEONE, maybe_instant
from watchword.identity.audit import Client
from watchword.identity.granting import Operation
from watchword.identity.kernel import Kernel
from watchword.identity.webhooks.deliveries import Failed
from watchword.identity.webhooks.endpoints import Endpoint
from watchword.tokens.claims import AccessClaims
from watchword.web.route import AccessToken, Call, Reply, Route
from watchword.web.views import instant

_URL = "https://app.example.com/hooks/watchword"


class WebhookView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint of webhooks. `private`: an operator allowed it to lie in a private network."""

    id: str
    url: str
    events: tuple[str, ...]
    private: bool
    created_at: datetime
    taken_at: datetime | None
    failing_since: datetime | None
    disabled_at: datetime | None
    fault: str | None

    @classmethod
    def of(cls, endpoint: Endpoint) -> WebhookView:
        """Return the view of an endpoint."""
        return cls(
            id=endpoint.id,
            url=endpoint.url,
            events=endpoint.events,
            private=endpoint.private,
            created_at=instant(endpoint.created_at),
            taken_at=maybe_instant(endpoint.taken_at),
            failing_since=maybe_instant(endpoint.failing_since),
            disabled_at=maybe_instant(endpoint.disabled_at),
            fault=endpoint.fault,
        )


class WebhookList(msgspec.Struct, frozen=True):
    """Every endpoint, oldest first."""

    items: tuple[WebhookView, ...]


class NewWebhook(msgspec.Struct, forbid_unknown_fields=True):
    """Where webhooks go, and which."""

    url: Annotated[str, Meta(description="An https URL that the public Internet reaches.", examples=[_URL])]
    events: Annotated[
        tuple[str, ...], Meta(description="Types of events; `user.*` or `*` for many.", examples=[["user.*"]])
    ]


class MadeWebhook(msgspec.Struct, frozen=True):
    """The endpoint, and the secret by which its receiver checks signatures. It is not shown again."""

    webhook: WebhookView
    secret: str


class NewSecret(msgspec.Struct, forbid_unknown_fields=True):
    """Whether the former secret stops at once, as after a leak; else it signs too for a day."""

    at_once: Annotated[bool, Meta(description="The former secret signs no more.", examples=[False])] = False


class MadeSecret(msgspec.Struct, frozen=True):
    """The new secret. It is not shown again."""

    secret: str


class Tried(msgspec.Struct, frozen=True):
    """The id of the event that is sent to try the endpoint."""

    event_id: str


class FailedView(msgspec.Struct, frozen=True):
    """An event that was given up at an endpoint."""

    id: str
    type: str
    user_id: str | None
    at: datetime
    failed_at: datetime
    tries: int
    fault: str | None

    @classmethod
    def of(cls, failed: Failed) -> FailedView:
        """Return the view of a delivery."""
        at, failed_at = instant(failed.at), instant(failed.failed_at)
        return cls(failed.id, failed.type, failed.user_id or None, at, failed_at, failed.tries, failed.fault)


class FailedList(msgspec.Struct, frozen=True):
    """Events that were given up, oldest first, at most two hundred."""

    items: tuple[FailedView, ...]


class Retry(msgspec.Struct, forbid_unknown_fields=True):
    """Which one to send again; without it all, at most a thousand."""

    id: Annotated[str, Meta(description="The event's id.")] | UnsetType = UNSET


class SentAgain(msgspec.Struct, frozen=True):
    """How many events will be sent again."""

    sent_again: int


class WebhookAdministration:
    """Webhooks, by administrators. Every method raises as `Gate.admit`, and `NotFound` for an unknown endpoint."""

    def __init__(self, kernel: Kernel, gate: Gate) -> None:
        self._endpoints = kernel.webhooks
        self._deliveries = kernel.deliveries
        self._gate = gate

    async def all(self, caller: AccessClaims, *, client: Client) -> list[Endpoint]:
        """Return every endpoint."""
        await self._gate.admit(caller, client)
        return await self._endpoints.all()

    async def add(
        self, caller: AccessClaims, url: str, wanted: tuple[str, ...], *, client: Client
    ) -> tuple[Endpoint, str]:
        """Add an endpoint on the public Internet; return it and its secret. Raises as `Endpoints.add`."""
        return await self._endpoints.add(url, wanted, by=await self._by(caller, client))

    async def remove(self, caller: AccessClaims, webhook_id: str, *, client: Client) -> None:
        """Remove an endpoint, and what waits for it."""
        await self._endpoints.remove(webhook_id, by=await self._by(caller, client))

    async def enable(self, caller: AccessClaims, webhook_id: str, *, client: Client) -> Endpoint:
        """Send again to one that was disabled."""
        return await self._endpoints.enable(webhook_id, by=await self._by(caller, client))

    async def rotate_secret(self, caller: AccessClaims, webhook_id: str, *, at_once: bool, client: Client) -> str:
        """Replace the secret; return the new one."""
        return await self._endpoints.rotate_secret(webhook_id, at_once=at_once, by=await self._by(caller, client))

    async def try_out(self, caller: AccessClaims, webhook_id: str, *, client: Client) -> str:
        """Have an event sent that only tries the endpoint; return its id."""
        return await self._deliveries.try_out(webhook_id, by=await self._by(caller, client))

    async def failed(self, caller: AccessClaims, webhook_id: str, *, client: Client) -> list[Failed]:
        """Return what was given up."""
        await self._gate.admit(caller, client)
        await self._endpoints.get(webhook_id)
        return await self._deliveries.failed(webhook_id)

    async def retry(self, caller: AccessClaims, webhook_id: str, event_id: str | None, *, client: Client) -> int:
        """Send again what was given up; return how many."""
        return await self._deliveries.retry(webhook_id, event_id, by=await self._by(caller, client))

    async def _by(self, caller: AccessClaims, client: Client) -> Operation:
        await self._gate.admit(caller, client)
        return Operation(client, caller.sub, self._gate.check(caller))


_SHOWN = WebhookView(
    id="0197f1a2-7c00-7abc-8def-334455667788",
    url=_URL,
    events=("user.*", "session.reused"),
    private=False,
    created_at=SOMEONE.created_at,
    taken_at=None,
    failing_since=None,
    disabled_at=None,
    fault=None,
)
_SECRET = "whsec_SxdSUGBNdUbb7vEhLrB5e4xEMSR6e4hzNmQ5YWZmMDE="  # noqa: S105 - an example
_EVENT = "evt_0197f1a27c007abc8def334455667799_0"
_GIVEN_UP = FailedView(
    _EVENT, "user.created", SOMEONE.id, SOMEONE.created_at, SOMEONE.created_at, 11, "it answered 500"
)


class WebhookRoutes:
    """The routes of `WebhookAdministration`."""

    def __init__(self, webhooks: WebhookAdministration, access: AccessToken) -> None:
        self._webhooks = webhooks
        self._access = access

    def table(self) -> tuple[Route, ...]:
        """Return the routes of webhooks."""
        may, one = self._access, "/admin/webhooks/{id}"
        return (
            Route(method="GET", path="/admin/webhooks", handler=self.list, access=may, summary="Endpoints of webhooks",
                  answers={200: WebhookList}, limits=("admin",), shown={200: WebhookList((_SHOWN,))}),
            Route(method="POST", path="/admin/webhooks", handler=self.add, access=may, body=NewWebhook,
                  summary="Add an endpoint of webhooks", answers={201: MadeWebhook}, limits=("admin",),
                  example=NewWebhook(_URL, _SHOWN.events), shown={201: MadeWebhook(_SHOWN, _SECRET)},
                  problems=("invalid_input", "name_taken", "conflict")),
            Route(method="DELETE", path=one, handler=self.remove, access=may, answers={204: None}, limits=("admin",),
                  summary="Remove an endpoint of webhooks, and what waits for it", problems=("not_found",)),
            Route(method="POST", path=one + "/enable", handler=self.enable, access=may, answers={200: WebhookView},
                  summary="Send again to an endpoint that was disabled", limits=("admin",), shown={200: _SHOWN},
                  problems=("not_found",)),
            Route(method="POST", path=one + "/secret", handler=self.rotate_secret, access=may, body=NewSecret,
                  may_be_empty=True, summary="Replace the secret of an endpoint", answers={200: MadeSecret},
                  limits=("admin",),
                  example=NewSecret(), shown={200: MadeSecret(_SECRET)}, problems=("not_found",)),
            Route(method="POST", path=one + "/test", handler=self.try_out, access=may, answers={202: Tried},
                  summary="Send an event that only tries an endpoint", limits=("admin",), shown={202: Tried(_EVENT)},
                  problems=("not_found",)),
            Route(method="GET", path=one + "/failed", handler=self.failed, access=may, answers={200: FailedList},
                  summary="Events that were given up at an endpoint", limits=("admin",),
                  shown={200: FailedList((_GIVEN_UP,))}, problems=("not_found",)),
            Route(method="POST", path=one + "/retry", handler=self.retry, access=may, body=Retry,
                  may_be_empty=True, summary="Send again what was given up", answers={200: SentAgain},
                  limits=("admin",),
                  example=Retry(_EVENT), shown={200: SentAgain(1)}, problems=("not_found",)),
        )  # fmt: skip

    async def list(self, call: Call) -> Reply:
        """`GET /admin/webhooks`."""
        found = await self._webhooks.all(call.claims, client=call.client)
        return Reply(WebhookList(tuple(map(WebhookView.of, found))))

    async def add(self, call: Call) -> Reply:
        """`POST /admin/webhooks`."""
        body: NewWebhook = call.body
        made, secret = await self._webhooks.add(call.claims, body.url, body.events, client=call.client)
        return Reply(MadeWebhook(WebhookView.of(made), secret), 201)

    async def remove(self, call: Call) -> Reply:
        """`DELETE /admin/webhooks/{id}`."""
        await self._webhooks.remove(call.claims, call.params["id"], client=call.client)
        return Reply(None, 204)

    async def enable(self, call: Call) -> Reply:
        """`POST /admin/webhooks/{id}/enable`."""
        return Reply(WebhookView.of(await self._webhooks.enable(call.claims, call.params["id"], client=call.client)))

    async def rotate_secret(self, call: Call) -> Reply:
        """`POST /admin/webhooks/{id}/secret`."""
        body: NewSecret = call.body or NewSecret()
        made = await self._webhooks.rotate_secret(
            call.claims, call.params["id"], at_once=body.at_once, client=call.client
        )
        return Reply(MadeSecret(made))

    async def try_out(self, call: Call) -> Reply:
        """`POST /admin/webhooks/{id}/test`."""
        return Reply(Tried(await self._webhooks.try_out(call.claims, call.params["id"], client=call.client)), 202)

    async def failed(self, call: Call) -> Reply:
        """`GET /admin/webhooks/{id}/failed`."""
        found = await self._webhooks.failed(call.claims, call.params["id"], client=call.client)
        return Reply(FailedList(tuple(map(FailedView.of, found))))

    async def retry(self, call: Call) -> Reply:
        """`POST /admin/webhooks/{id}/retry`."""
        body: Retry = call.body or Retry()
        event_id = None if body.id is UNSET else body.id
        return Reply(
            SentAgain(await self._webhooks.retry(call.claims, call.params["id"], event_id, client=call.client))
        )
