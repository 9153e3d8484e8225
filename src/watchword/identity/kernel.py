"""The kernel: one struct, no container. `watchword.opening` builds it; features take from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Event

from watchword.clock import Clock
from watchword.identity.api_keys import ApiKeys
from watchword.identity.asking import Asks
from watchword.identity.feed import RevocationLog
from watchword.identity.granting import Granting
from watchword.identity.guard_keys import GuardKeys
from watchword.identity.hashing import Hasher
from watchword.identity.issuing import TokenIssuer
from watchword.identity.keys.master import Master
from watchword.identity.keys.ring import Keys
from watchword.identity.known_devices import KnownDevices
from watchword.identity.legacy_factor import LegacyFactor
from watchword.identity.login import LogIn
from watchword.identity.notices import Notices
from watchword.identity.one_time import OneTime
from watchword.identity.outbox import Outbox
from watchword.identity.own_claims import OwnClaims
from watchword.identity.posting import Post
from watchword.identity.redeeming import Addresses
from watchword.identity.revocation import Revocations
from watchword.identity.rights import Rights
from watchword.identity.service_accounts.accounts import ServiceAccounts
from watchword.identity.service_accounts.exchanging import Exchanging
from watchword.identity.service_accounts.granting import AccountTokens
from watchword.identity.service_accounts.proving import Proving
from watchword.identity.sessions.sessions import Sessions
from watchword.identity.showing import Showing
from watchword.identity.throttle import Throttle
from watchword.identity.users import Users
from watchword.identity.verifying import AccessVerifier
from watchword.identity.webhooks.deliveries import Deliveries
from watchword.identity.webhooks.endpoints import Endpoints
from watchword.identity.webhooks.teller import Teller
from watchword.meters import UNMETERED, Meters
from watchword.settings import Settings
from watchword.storage.database import Database
from watchword.storage.ephemeral import Ephemeral
from watchword.storage.hints import Hints
from watchword.storage.leases import Leases
from watchword.tracing import UNTRACED, Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Everything that knows users and their sessions."""

    settings: Settings
    clock: Clock
    database: Database
    master: Master
    ephemeral: Ephemeral
    hasher: Hasher
    keys: Keys
    issuer: TokenIssuer
    own_claims: OwnClaims
    rights: Rights
    granting: Granting
    verifier: AccessVerifier
    revocations: Revocations
    feed: RevocationLog
    guard_keys: GuardKeys
    api_keys: ApiKeys
    service_accounts: ServiceAccounts
    proving: Proving
    account_tokens: AccountTokens
    exchanging: Exchanging
    throttle: Throttle
    users: Users
    sessions: Sessions
    login: LogIn
    showing: Showing
    known_devices: KnownDevices
    outbox: Outbox
    one_time: OneTime
    notices: Notices
    asks: Asks
    addresses: Addresses
    webhooks: Endpoints
    deliveries: Deliveries
    teller: Teller
    leases: Leases
    hints: Hints
    legacy: LegacyFactor | None = None  # while an application that was there before is known
    post: Post | None = None  # where mail is sent: in a service, not in a command
    meters: Meters = UNMETERED
    tracer: Tracer = UNTRACED
    stopping: Event = field(default_factory=Event)  # set when the process is asked to end
