r"""A posts API behind the guard: anyone reads, whoever is logged in writes, the author or an admin changes.

Start the service (`make serve`), and in another terminal this file: it listens on port 8000 and keeps its posts in
`posts.db` in the working directory. It needs `fastapi` and `uvicorn`.

    .venv/bin/python examples/posts_fastapi.py

Then, in a third terminal:

    $ curl -s http://127.0.0.1:4000/register -H 'Content-Type: application/json' -o /dev/null \
        -d '{"username": "ada", "email": "ada@example.com", "password": "plum-orbit-canvas"}'

    $ TOKEN=$(curl -s http://127.0.0.1:4000/login -H 'Content-Type: application/json' \
        -d '{"email": "ada@example.com", "password": "plum-orbit-canvas"}' | sed 's/{"access_token":"\([^"]*\)".*/\1/')

    $ curl -s http://127.0.0.1:8000/posts -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/json' -d '{"title": "Hello", "body": "From the guard."}'
    {"title":"Hello","body":"From the guard.","id":1,"author":"01a1f7a0-ad3d-72f2-aa04-709828f888db"}

    $ curl -s -X PUT http://127.0.0.1:8000/posts/1 -H "Authorization: Bearer $TOKEN" \
        -H 'Content-Type: application/json' -d '{"title": "Hello again", "body": "From the guard."}'
    {"title":"Hello again","body":"From the guard.","id":1,"author":"01a1f7a0-ad3d-72f2-aa04-709828f888db"}

    $ curl -s -X DELETE http://127.0.0.1:8000/posts/1 -o /dev/null -w '%{http_code}\n'
    401

    $ curl -s -X DELETE http://127.0.0.1:8000/posts/1 -H "Authorization: Bearer $TOKEN" -w '%{http_code}\n'
    204

    $ curl -s http://127.0.0.1:8000/posts
    []

`.venv/bin/watchword users roles ada --add admin` makes an admin, who may change every post from the next log-in on.
Say it in the directory where the service runs, or with `--data-dir`. The token held now is refused from then on.

http://127.0.0.1:8000/docs has an Authorize button, which works if the service was started with
`make serve ARGS="--allowed-origins http://127.0.0.1:8000"`. That is the origin as the address bar shows it:
http://localhost:8000 is another. FastAPI's page loads Swagger UI from a CDN.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from typing import Annotated, Any

import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Path, Request, status
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from watchword.guard import Caller, Guard
from watchword.guard.fastapi import FastAPIGuard

AUTH_URL = os.environ.get("AUTH_URL", "http://127.0.0.1:4000")
PORT = int(os.environ.get("PORT", "8000"))
NEWEST = 50

auth = FastAPIGuard(Guard(AUTH_URL))
app = FastAPI(title="Posts", lifespan=auth.lifespan)


@app.exception_handler(RequestValidationError)
def unfit(request: Request, error: RequestValidationError) -> JSONResponse:
    """Say what is wrong without repeating it: half a character, which JSON can hold, cannot be sent back."""
    detail = [{"loc": fault["loc"], "msg": fault["msg"]} for fault in error.errors()]
    return JSONResponse({"detail": detail}, status.HTTP_422_UNPROCESSABLE_CONTENT)


def open_database() -> Iterator[sqlite3.Connection]:
    """A connection for one request, committed at its end."""
    connection = sqlite3.connect("posts.db", check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS posts (id INTEGER PRIMARY KEY AUTOINCREMENT,"  # no id is used twice
                " author TEXT NOT NULL, title TEXT NOT NULL, body TEXT NOT NULL)"
            )
            yield connection
    finally:
        connection.close()


Database = Annotated[sqlite3.Connection, Depends(open_database, scope="function")]
LoggedIn = Annotated[Caller, auth.required()]
PostId = Annotated[int, Path(ge=1, lt=2**63)]


class Draft(BaseModel):
    """What an author writes."""

    title: str = Field(min_length=1, max_length=200)
    body: str = Field(max_length=20_000)


class Post(Draft):
    """A draft that has been posted. The author is a user's id, from the token and never from the body."""

    id: int
    author: str


@app.get("/posts")
def newest(database: Database) -> list[Post]:
    """The newest posts; for this nobody needs a token."""
    return [Post(**row) for row in database.execute("SELECT * FROM posts ORDER BY id DESC LIMIT ?", (NEWEST,))]


@app.post("/posts", status_code=status.HTTP_201_CREATED)
def create(draft: Draft, caller: LoggedIn, database: Database) -> Post:
    """Write a post; the caller is its author."""
    row = database.execute(
        "INSERT INTO posts (author, title, body) VALUES (?, ?, ?) RETURNING *",
        (caller.user_id, draft.title, draft.body),
    ).fetchone()
    return Post(**row)


@app.put("/posts/{post_id}")
def update(post_id: PostId, draft: Draft, caller: LoggedIn, database: Database) -> Post:
    """Change a post; its author may, and an admin."""
    row = database.execute(
        "UPDATE posts SET title = ?, body = ? WHERE id = ? AND (author = ? OR ?) RETURNING *",
        (draft.title, draft.body, post_id, caller.user_id, is_admin(caller)),
    ).fetchone()
    return Post(**(row or refuse(post_id, database)))


@app.delete("/posts/{post_id}", status_code=status.HTTP_204_NO_CONTENT)
def delete(post_id: PostId, caller: LoggedIn, database: Database) -> None:
    """Remove a post; its author may, and an admin."""
    row = database.execute(
        "DELETE FROM posts WHERE id = ? AND (author = ? OR ?) RETURNING id",
        (post_id, caller.user_id, is_admin(caller)),
    ).fetchone()
    if row is None:
        refuse(post_id, database)


def is_admin(caller: Caller) -> bool:
    """Whether the service's operator made the caller an admin."""
    return "admin" in caller.roles


def refuse(post_id: int, database: sqlite3.Connection) -> Any:
    """Say why a post was not changed: it is not there, or it is somebody else's."""
    if database.execute("SELECT 1 FROM posts WHERE id = ?", (post_id,)).fetchone() is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, "There is no such post.")
    raise HTTPException(status.HTTP_403_FORBIDDEN, "Only the author or an admin may do this.")


if __name__ == "__main__":
    uvicorn.run(app, port=PORT)
