"""A Flask application of before, with Flask-JWT-Extended and Werkzeug's hashes: prints its tokens.

Run as a script with the path of its SQLite file and its JWT_SECRET_KEY.
"""

from __future__ import annotations

import json
import sqlite3
import sys

from flask import Flask, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt_identity,
    jwt_required,
)
from werkzeug.security import check_password_hash, generate_password_hash

database = sqlite3.connect(sys.argv[1])
database.execute("CREATE TABLE user (id INTEGER PRIMARY KEY, username TEXT, email TEXT, password_hash TEXT)")
row = ("ada", "ada@example.com", generate_password_hash("plum-orbit-canvas"))
database.execute("INSERT INTO user (id, username, email, password_hash) VALUES (41, ?, ?, ?)", row)
database.commit()

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = sys.argv[2]
JWTManager(app)


@app.post("/login")
def login():  # type: ignore[no-untyped-def]
    sent = request.get_json()
    number, stored = database.execute(
        "SELECT id, password_hash FROM user WHERE username = ?", (sent["username"],)
    ).fetchone()
    assert check_password_hash(stored, sent["password"])
    identity = str(number)
    return jsonify(access=create_access_token(identity), refresh=create_refresh_token(identity))


@app.get("/me")
@jwt_required()
def me():  # type: ignore[no-untyped-def]
    return jsonify(id=get_jwt_identity())


client = app.test_client()
pair = client.post("/login", json={"username": "ada", "password": "plum-orbit-canvas"}).get_json()
seen = client.get("/me", headers={"Authorization": f"Bearer {pair['access']}"}).get_json()
print(json.dumps({**pair, "id": seen["id"]}))
