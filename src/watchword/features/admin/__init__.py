"""Administration for users with the role `admin`: users, sessions, the audit trail, keys, scopes, APIs, webhooks."""

from __future__ import annotations

from watchword.features.admin.audit import AuditRoutes
from watchword.features.admin.cursors import Cursors
from watchword.features.admin.first import FirstRoutes
from watchword.features.admin.gate import Gate
from watchword.features.admin.keys import KeyAdministration, KeyRoutes
from watchword.features.admin.rights import RightsAdministration, RightsRoutes
from watchword.features.admin.routes import UserRoutes
from watchword.features.admin.service import UserAdministration
from watchword.features.admin.sessions import SessionRoutes
from watchword.features.admin.webhooks import WebhookAdministration, WebhookRoutes
from watchword.identity.administrators import ADMIN
from watchword.identity.first_administrator import FirstAdministrator
from watchword.identity.kernel import Kernel
from watchword.web.feature import Feature
from watchword.web.route import AccessToken


def feature(kernel: Kernel) -> Feature:
    """Return what this feature declares; nothing where administration over HTTP is off."""
    about = (
        "Users, sessions, the audit trail, signing keys, scopes, APIs and webhooks, for users with the role `admin`."
    )
    if not kernel.settings.admin:
        return Feature("admin", (), about)
    gate, cursors = Gate(kernel), Cursors(kernel.master)
    users = UserAdministration(kernel, gate)
    access = AccessToken(roles=(ADMIN,), max_age=int(kernel.settings.admin_max_age.total_seconds()))
    first = FirstRoutes(FirstAdministrator(kernel))
    routes = (
        *UserRoutes(users, cursors, access).table(),
        *SessionRoutes(kernel, gate, users, cursors, access).table(),
        *AuditRoutes(kernel, gate, cursors, access).table(),
        *KeyRoutes(KeyAdministration(kernel, gate), access).table(),
        *RightsRoutes(RightsAdministration(kernel, gate), access).table(),
        *WebhookRoutes(WebhookAdministration(kernel, gate), access).table(),
        *first.table(),
    )
    return Feature("admin", routes, about, links=(first.link(),))
