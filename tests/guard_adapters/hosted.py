"""An application whose guard runs already when the server forks: what uWSGI, gunicorn and gevent load."""

from __future__ import annotations

import os

from tests.guard_adapters import apps

guard = apps.guard_from_environment()
assert guard.wait_until_ready(10), guard.why_not_ready
application = apps.plain_wsgi(guard)
process = os.getpid()
