# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"
"""Flask in the environment of the peers: a bare route, ours, and Flask-JWT-Extended (HS256, its own tokens)."""

from __future__ import annotations

import os
import secrets
import uuid

from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, get_jwt_identity, jwt_required

from watchword.guard import Guard
from watchword.guard.flask import FlaskGuard, current_caller

ISSUER = os.environ["ISSUER"]
auth = FlaskGuard(Guard(ISSUER))
app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = secrets.token_hex(32)
JWTManager(app)


@app.get("/bare")
def bare() -> dict[str, str]:
    """Nobody asks who it is."""
    return {"user_id": "00000000-0000-0000-0000-000000000000"}


@app.get("/ours")
@auth.required()
def ours() -> dict[str, str]:
    """Ours."""
    return {"user_id": current_caller.user_id}


@app.get("/extended")
@jwt_required()
def extended() -> dict[str, str]:
    """The other's."""
    return {"user_id": get_jwt_identity()}


@app.get("/token/extended")
def token() -> str:
    """Sign for a new user."""
    return create_access_token(identity=str(uuid.uuid4()))
