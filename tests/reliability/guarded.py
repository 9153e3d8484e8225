"""A guarded application in a process of its own, in one of three frameworks: `guarded.py FRAMEWORK PORT ISSUER URL`.

`GET /` answers 200 to a good access token of the issuer, whose service is reached under URL.
"""

from __future__ import annotations

import sys
from typing import Any

from watchword.guard import Caller, Guard


def serve_fastapi(port: int, issuer: str, url: str) -> None:
    """One event loop."""
    import uvicorn
    from fastapi import FastAPI

    from watchword.guard.fastapi import FastAPIGuard

    auth = FastAPIGuard(Guard(issuer, url=url))
    app = FastAPI(lifespan=auth.lifespan)

    @app.get("/")
    async def home(caller: Caller = auth.required()) -> dict[str, str]:  # noqa: B008 - how FastAPI has it
        return {"user": caller.user_id}

    uvicorn.run(app, port=port, log_level="warning")


def serve_flask(port: int, issuer: str, url: str) -> None:
    """Threads."""
    from flask import Flask

    from watchword.guard.flask import FlaskGuard, current_caller

    app = Flask(__name__)
    auth = FlaskGuard(Guard(issuer, url=url))

    @app.get("/")
    @auth.required()
    def home() -> dict[str, str]:
        return {"user": current_caller.user_id}

    _serve_wsgi(app, port)


def serve_django(port: int, issuer: str, url: str) -> None:
    """Threads."""
    import django
    from django.conf import settings
    from django.core.wsgi import get_wsgi_application
    from django.http import JsonResponse
    from django.urls import path

    from watchword.guard.django import guarded

    settings.configure(
        SECRET_KEY="not used by anything here",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        WATCHWORD_GUARD={"issuer": issuer, "url": url, "audience": issuer},
    )
    django.setup()

    @guarded
    def home(request: Any) -> Any:
        return JsonResponse({"user": request.caller.user_id})

    globals()["urlpatterns"] = [path("", home)]
    _serve_wsgi(get_wsgi_application(), port)


def _serve_wsgi(app: Any, port: int) -> None:
    import logging

    from werkzeug.serving import WSGIRequestHandler, run_simple

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"
    run_simple("127.0.0.1", port, app, threaded=True)


if __name__ == "__main__":
    _, _framework, _port, _issuer, _url = sys.argv
    {"fastapi": serve_fastapi, "flask": serve_flask, "django": serve_django}[_framework](int(_port), _issuer, _url)
