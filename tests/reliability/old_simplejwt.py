"""A Django application of before, with simplejwt: makes a user, logs in over HTTP, prints its tokens.

Run as a script with the path of its SQLite file and its SECRET_KEY.
"""

from __future__ import annotations

import json
import sys
import types

import django
from django.conf import settings
from django.urls import path

settings.configure(
    ALLOWED_HOSTS=["*"],
    SECRET_KEY=sys.argv[2],
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}},
    REST_FRAMEWORK={"DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"]},
    ROOT_URLCONF="old_urls",
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.models import User  # noqa: E402 - Django has to be set up first
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from rest_framework.decorators import api_view  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework_simplejwt.views import TokenObtainPairView  # noqa: E402


@api_view()
def me(request):  # type: ignore[no-untyped-def]
    return Response({"id": request.user.pk})


urls = types.ModuleType("old_urls")
urls.urlpatterns = [path("token/", TokenObtainPairView.as_view()), path("me/", me)]  # type: ignore[attr-defined]
sys.modules["old_urls"] = urls
call_command("migrate", verbosity=0)
User.objects.create_user("ada", "ada@example.com", "plum-orbit-canvas")
client = Client()
pair = client.post("/token/", {"username": "ada", "password": "plum-orbit-canvas"}).json()
seen = client.get("/me/", headers={"Authorization": f"Bearer {pair['access']}"}).json()
print(json.dumps({**pair, "id": seen["id"]}))
