"""A Django application of before: makes its tables and its users. Run as a script with the URL of its database."""

from __future__ import annotations

import sys
from urllib.parse import urlsplit

import django
from django.conf import settings

url = urlsplit(sys.argv[1])
if url.scheme == "sqlite":
    DATABASE = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.path.removeprefix("/")}
else:
    DATABASE = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.removeprefix("/"),
        "USER": url.username,
        "HOST": url.hostname,
        "PORT": url.port,
    }

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DATABASES={"default": DATABASE},
    PASSWORD_HASHERS=[
        f"django.contrib.auth.hashers.{name}PasswordHasher" for name in ("PBKDF2", "Scrypt", "Argon2", "BCryptSHA256")
    ],
    USE_TZ=True,
)
django.setup()

from django.contrib.auth.hashers import make_password  # noqa: E402 - Django has to be set up first
from django.contrib.auth.models import Group, User  # noqa: E402
from django.core.management import call_command  # noqa: E402

call_command("migrate", verbosity=0)
PASSWORD = "plum-orbit-canvas"
ada = User.objects.create_superuser("ada+old@example.org", "ada@example.org", PASSWORD)
ada.groups.add(Group.objects.create(name="Content editors"))
for name in ("scrypt", "argon2", "bcrypt_sha256"):
    User.objects.create(username=f"by.{name}", email="", password=make_password(PASSWORD, hasher=name))
User.objects.create_user("Bert", "bert@example.org", None)
User.objects.create_user("bert", "other@example.org", PASSWORD)  # another user to Django only
User.objects.create_user("off", "", PASSWORD, is_active=False, is_staff=True)
