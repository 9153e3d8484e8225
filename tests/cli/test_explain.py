"""`watchword explain` and `watchword token explain`, beside a service."""

from __future__ import annotations

import json
import sqlite3
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Finished, Run, Serve
from tests.cli.test_commands import PASSWORD, made


def post(url: str, path: str, body: object) -> tuple[int, dict[str, str], dict[str, str]]:
    """Status, JSON and headers of a POST."""
    asked = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            headers = {k.lower(): v for k, v in answer.headers.items()}
            headers["set-cookie"] = (answer.headers.get_all("set-cookie") or [""])[0]  # the session's comes first
            return answer.status, json.loads(answer.read()), headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), {k.lower(): v for k, v in error.headers.items()}


def log_in(url: str) -> tuple[str, str]:
    """An access token and a refresh token."""
    status, tokens, headers = post(url, "/login", {"username": "ada", "password": PASSWORD})
    assert status == 200
    return tokens["access_token"], headers["set-cookie"].partition("=")[2].partition(";")[0]


def test_a_request_is_explained(run: Run, serve: Serve) -> None:
    """A refused log-in in words; what left no record, with what to do next."""
    user = made(run, "ada")
    url = serve().url
    _, _, headers = post(url, "/login", {"username": "ada", "password": "wrong"})
    request = headers["x-request-id"]
    done = run("explain", request)
    assert done.code == 0
    assert "log_in: Someone tried to log in." in done.out
    assert "It ended with refused: The proof was wrong" in done.out
    assert f"It is about ada (id {user['id']})." in done.out
    assert "It came from 127.0.0.1, with Python-urllib/" in done.out
    assert "log_in_failed" in done.err
    (item,) = json.loads(run("explain", f" {request} ", "--json").out)["items"]
    assert (item["event"], item["outcome"], item["means"]) == ("log_in", "refused", "Someone tried to log in.")
    assert run("users", "delete", "ada", "--yes").code == 0
    later = run("explain", request).out
    assert f"a user who was deleted (id {user['id']})" in later
    assert "Where it came from was erased" in later
    for nothing in ("nothing", ""):
        missing = run("explain", nothing)
        assert (missing.code, "token explain" in missing.err) == (3, True)


@pytest.mark.rare
def test_access_tokens_are_explained(run: Run, serve: Serve, tmp_path: Path) -> None:
    """Accepted; ended by a log-out; overtaken by a change; of another service, audience or key; malformed in what."""
    made(run, "ada")
    url = serve().url

    def told(token: str, **extra: str) -> Finished:
        done = run("token", "explain", stdin=token, WATCHWORD_PUBLIC_URL=extra.pop("url", url), **extra)
        assert "Traceback" not in done.err
        assert not token or token.strip()[-40:] not in done.out + done.err
        return done

    access, _ = log_in(url)
    good = told(f"Bearer {access}\n")
    assert (good.code, "verdict\taccepted" in good.out, "user\tada" in good.out) == (0, True, True)
    header, payload, signature = access.split(".")
    for token, extra, code, why in (
        ("", {}, None, "no token"),
        ("abc", {}, "token_malformed", "not three base64url parts"),
        (f"{header}.{payload}", {}, "token_malformed", "not three base64url parts"),
        (f"{header}.{payload}.{signature[:-2]}", {}, "token_invalid", "Its signature is not valid"),
        (f"{header}.{payload}.{signature[:-8]}AAAAAAAA", {}, "token_invalid", "Its signature is not valid"),
        (f"eyJhbGciOiJub25lIn0.{payload}.AAAA", {}, "token_invalid", "Its kind (typ) is None"),
        (f"eyJhbGciOiJIUzI1NiIsInR5cCI6ImF0K2p3dCIsImtpZCI6IngifQ.{payload}.AAAA", {}, "token_invalid", "No key of"),
        (access, {"url": "http://127.0.0.1:1"}, "token_invalid", f"Its issuer is {url}"),
        (access, {"WATCHWORD_AUDIENCE": "orders"}, "token_invalid", "here it is orders (WATCHWORD_AUDIENCE)"),
        ("wwg_" + "x" * 43, {}, "token_malformed", "the key of a guard"),
    ):
        refused = told(token, **extra)
        assert (refused.code, why in refused.out + refused.err) == (2 if code is None else 1, True), (refused, why)
        assert code is None or f"refused ({code})" in refused.out, refused
    assert run("users", "roles", "ada", "--add", "admin").code == 0
    overtaken = json.loads(_json(run, url, access))
    assert (overtaken["code"], "It has version 1 and" in overtaken["reasons"][0]) == ("token_revoked", True)
    access, refresh = log_in(url)
    assert run("sessions", "end", overtaken["facts"]["session_id"], "--yes").code == 0
    asked = urllib.request.Request(f"{url}/logout", b"", {"Authorization": f"Bearer {access}"})
    urllib.request.urlopen(asked, timeout=60).close()
    out = told(access).out
    assert "why\tIts session ended at 20" in out
    assert "Z by a log-out." in out
    assert "by an operator" in _json(run, url, refresh) or "by a log-out" in _json(run, url, refresh)
    with closing(sqlite3.connect(tmp_path / "watchword-data" / "watchword.db")) as database, database:
        database.execute("UPDATE ww_signing_keys SET status = 'revoked', revoked_at = 1800000000")
    assert "Its signing key was revoked at 2027-01-15" in told(access).out
    assert run("users", "disable", "ada").code == 0
    assert "The account was disabled at" in told(access).out
    assert run("users", "delete", "ada", "--yes").code == 0
    assert "Its user does not exist" in told(access).out


def _json(run: Run, url: str, token: str, **extra: str) -> str:
    return run("token", "explain", "--json", stdin=token, WATCHWORD_PUBLIC_URL=url, **extra).out


def test_refresh_tokens_are_explained(run: Run, serve: Serve) -> None:
    """The newest one, one just replaced, one that is a copy, one of another secret, one of an ended session."""
    made(run, "ada")
    url = serve().url
    _, first = log_in(url)
    assert json.loads(_json(run, url, first))["accepted"] is True
    tokens = [first]
    for body in (b"", b"", json.dumps({"retry_key": "A" * 22}).encode()):
        headers = {"Cookie": f"watchword_refresh={tokens[-1]}", "Origin": url}
        if body:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{url}/refresh", body, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            tokens.append(answer.headers["set-cookie"].partition("=")[2].partition(";")[0])
    assert json.loads(_json(run, url, tokens[-1]))["accepted"] is True
    assert "replaced a moment ago" in _json(run, url, tokens[-2])
    assert json.loads(_json(run, url, tokens[0]))["code"] == "refresh_superseded"
    time.sleep(1.1)  # the grace is counted in whole seconds
    old = json.loads(_json(run, url, tokens[0], WATCHWORD_REFRESH_GRACE="0s"))
    assert (old["accepted"], old["code"]) == (False, "refresh_token_reused")
    assert "with the retry key of its replacement" in old["reasons"][0]
    assert json.loads(_json(run, url, first[:-4] + "AAAA"))["code"] == "refresh_token_invalid"
    assert run("users", "end-sessions", "ada", "--yes").code == 0
    ended = json.loads(_json(run, url, tokens[-1]))
    assert (ended["code"], "by an operator" in ended["reasons"][0]) == ("session_ended", True)


@pytest.mark.usefixtures("database")
def test_a_token_is_no_argument(run: Run) -> None:
    """It is not repeated either."""
    done = run("token", "explain", "wwr_secret")
    assert (done.code, "wwr_secret" in done.out + done.err) == (2, False)
