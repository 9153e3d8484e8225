# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""REST framework in the environment of the peers: a bare view, ours, and simplejwt (HS256, its own tokens).

simplejwt is taken without its look-up of the user in the database, which it does by default: its quickest form.
"""

from __future__ import annotations

import os
import secrets
import uuid
from typing import Any

import django
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

ISSUER = os.environ["ISSUER"]
settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    REST_FRAMEWORK={"DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"]},
    WATCHWORD_GUARD={"issuer": ISSUER, "audience": ISSUER},
    LOGGING_CONFIG=None,
)
django.setup()

# These read the settings.
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from rest_framework.permissions import IsAuthenticated  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.authentication import JWTStatelessUserAuthentication  # noqa: E402
from rest_framework_simplejwt.tokens import AccessToken  # noqa: E402

from watchword.guard.drf import CallerAuthentication, HasCaller  # noqa: E402


class Bare(APIView):
    """Nobody asks who it is."""

    authentication_classes: tuple[Any, ...] = ()
    permission_classes: tuple[Any, ...] = ()

    def get(self, _: Request) -> Response:
        """Answer."""
        return Response({"user_id": "00000000-0000-0000-0000-000000000000"})


class Ours(APIView):
    """Ours."""

    authentication_classes = (CallerAuthentication,)
    permission_classes = (HasCaller,)

    def get(self, request: Request) -> Response:
        """Answer."""
        return Response({"user_id": request.user.caller.user_id})


class Simple(APIView):
    """The other's."""

    authentication_classes = (JWTStatelessUserAuthentication,)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        """Answer."""
        return Response({"user_id": str(request.user.id)})


def token(_: HttpRequest) -> HttpResponse:
    """Sign for a new user."""
    made = AccessToken()
    made["user_id"] = str(uuid.uuid4())
    return HttpResponse(str(made), content_type="text/plain")


urlpatterns = [
    path("bare", Bare.as_view()),
    path("ours", Ours.as_view()),
    path("simple", Simple.as_view()),
    path("token/simple", token),
]
app = WSGIHandler()
