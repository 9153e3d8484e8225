"""The API of `apps` in Django: decorators for `/…`, REST framework for `/drf/…`, the middleware for `/group`."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings

from watchword.guard import Guard
from watchword.testing import Issuer

NAMED = Issuer().guard()
"""A guard that settings may name."""


def configure(guard: Guard | None = None) -> None:
    """Set Django up, once in a process; later calls change the guard only."""
    asked: dict[str, Any] = {"protect": ["/group"], "except": ["/group/price"]}
    if guard is not None:
        asked["guard"] = guard
    else:
        asked |= {"issuer": os.environ["TEST_ISSUER"], "audience": os.environ["TEST_AUDIENCE"]}
    if settings.configured:
        from django.core.signals import setting_changed

        settings.WATCHWORD_GUARD = asked
        setting_changed.send(sender=None, setting="WATCHWORD_GUARD", value=asked, enter=True)
        return
    settings.configure(
        SECRET_KEY="not a secret: only for this test",
        ALLOWED_HOSTS=["127.0.0.1", "testserver"],
        ROOT_URLCONF="tests.guard_adapters.django_urls",
        INSTALLED_APPS=["rest_framework"],
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "watchword.guard.django.GuardMiddleware",
        ],
        REST_FRAMEWORK={
            "DEFAULT_AUTHENTICATION_CLASSES": ["watchword.guard.drf.CallerAuthentication"],
            "DEFAULT_PERMISSION_CLASSES": ["watchword.guard.drf.HasCaller"],
            "UNAUTHENTICATED_USER": None,
        },
        WATCHWORD_GUARD=asked,
    )
    import django

    django.setup()


def wsgi(guard: Guard | None = None) -> Any:
    """The site as a WSGI application."""
    configure(guard)
    from django.core.handlers.wsgi import WSGIHandler

    return WSGIHandler()


def asgi(guard: Guard | None = None) -> Any:
    """The site as an ASGI application."""
    configure(guard)
    from django.core.handlers.asgi import ASGIHandler

    return ASGIHandler()
