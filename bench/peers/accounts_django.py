# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""Django REST framework with simplejwt on SQLite: registration, log-in, refresh with rotation and blacklist, profile.

HASH: `argon2id` (19 MiB, two passes, one lane) or `bcrypt` (BCryptSHA256, cost 12). Rotation with its blacklist is the
nearest to ours that simplejwt has; its default issues a new access token and stores nothing.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import django
from django.conf import settings
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.urls import path


class Argon2id(Argon2PasswordHasher):
    """With the parameters of the others."""

    time_cost = 2
    memory_cost = 19_456
    parallelism = 1


HASHERS = {
    "argon2id": f"{__name__}.Argon2id",
    "bcrypt": "django.contrib.auth.hashers.BCryptSHA256PasswordHasher",
}
settings.configure(
    SECRET_KEY=secrets.token_hex(32),
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    INSTALLED_APPS=[
        "django.contrib.contenttypes",
        "django.contrib.auth",
        "rest_framework",
        "rest_framework_simplejwt.token_blacklist",
    ],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path("accounts.db").absolute(),
            "CONN_MAX_AGE": None,
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20, "init_command": "PRAGMA journal_mode=WAL;"},
        }
    },
    PASSWORD_HASHERS=[HASHERS[os.environ["HASH"]]],
    REST_FRAMEWORK={
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    },
    SIMPLE_JWT={"ROTATE_REFRESH_TOKENS": True, "BLACKLIST_AFTER_ROTATION": True},
    USE_TZ=True,
    LOGGING_CONFIG=None,
)
django.setup()

# These read the settings.
from django.contrib.auth.models import User  # noqa: E402
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.management import call_command  # noqa: E402
from rest_framework import serializers  # noqa: E402
from rest_framework.generics import CreateAPIView  # noqa: E402
from rest_framework.permissions import AllowAny, IsAuthenticated  # noqa: E402
from rest_framework.request import Request  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_simplejwt.views import TokenObtainPairView, TokenRefreshView  # noqa: E402

call_command("migrate", verbosity=0)


class Account(serializers.ModelSerializer[User]):
    """A user that is made."""

    class Meta:
        """Which columns."""

        model = User
        fields = ("id", "username", "password")
        extra_kwargs = {"password": {"write_only": True}}  # noqa: RUF012 - as the framework has it

    def create(self, validated_data: dict[str, str]) -> User:
        """Store the hash of the password."""
        return User.objects.create_user(**validated_data)


class Register(CreateAPIView):
    """Anyone may."""

    queryset = User.objects.all()
    serializer_class = Account
    permission_classes = (AllowAny,)


class Profile(APIView):
    """With the look-up of the user, as by default."""

    permission_classes = (IsAuthenticated,)

    def get(self, request: Request) -> Response:
        """Answer."""
        return Response({"id": request.user.id, "username": request.user.username})


urlpatterns = [
    path("register", Register.as_view()),
    path("login", TokenObtainPairView.as_view()),
    path("refresh", TokenRefreshView.as_view()),
    path("profile", Profile.as_view()),
]
app = WSGIHandler()
