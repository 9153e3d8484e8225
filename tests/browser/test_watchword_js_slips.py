"""What is written wrong with `clients/js/watchword.js` throws a TypeError that says what to write. Nothing is sent."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.browser.front_end import MODULE

SERVICE = "http://127.0.0.1:4871"
# Each request is noted in place of being sent; each log-in is answered with a token.
PRELUDE = """
import { Watchword } from "./watchword.js";
const part = (it) => Buffer.from(JSON.stringify(it)).toString("base64url");
const access_token = `${part({})}.${part({ sub: "u", sid: "s", iat: 1 })}.x`;
const sent = [];
globalThis.fetch = async (input, init) => {
    const { url, headers } = new Request(input, init);
    sent.push([url, headers.has("Authorization")]);
    return Response.json(url.endsWith("/login") ? { access_token, expires_in: 900, user: {} } : {});
};
const said = (work) => work().then(() => "nothing", ({ name, message }) => `${name}: ${message}`);
const given = JSON.parse(process.argv[1]);
const auth = new Watchword({ url: given.url, apis: given.apis ?? [] });
await auth.logIn({ username: "ada", password: "plum-orbit-canvas" });
sent.length = 0;
"""


def run(code: str, **given: Any) -> Any:
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node.js is missing: apt-get install nodejs")
    program = f"{PRELUDE}{code}\nauth.close();"
    command = [node, "--input-type=module", "-e", program, json.dumps({"url": SERVICE, **given})]
    ran = subprocess.run(command, cwd=MODULE.parent, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


CALLS = """
const told = [];
for (const path of given.paths) {
    told.push(await said(() => auth.call("GET", path)));
    told.push(await said(() => auth.call("DELETE", path)));
    told.push(await said(() => auth.logIn({ username: "ada", password: "x" }, { path })));
}
console.log(JSON.stringify({ told, sent }));
"""
NO_PATHS = [
    "", "profile", "1/x", ".evil.example/x", "@evil.example/x", ":80/x", " /profile", "//evil.example/x", "///x",
    "\\profile", "/\\evil.example/x", "/x\\..\\y", "https://evil.example/x", f"{SERVICE}/profile", None, 1,
    ["/profile"],
]  # fmt: skip


def test_only_a_path_of_the_service_is_sent_anything() -> None:
    """⚑ `http://127.0.0.1:4871` and `1/x` would be another port, which got the token and the password."""
    found = run(CALLS, paths=NO_PATHS)
    assert found["sent"] == []
    assert all(each.startswith("TypeError: a path of the service begins with one slash") for each in found["told"])
    assert len(found["told"]) == 3 * len(NO_PATHS)


def test_a_path_stays_below_the_service() -> None:
    """Another application of the same host is not the service, however the way up is written."""
    found = run(CALLS, url=f"{SERVICE}/auth/", paths=["/../x", "/%2e%2E/x", "/a/../../authentic", "/\t/../../x"])
    assert found["sent"] == []
    assert {each.partition(":")[0] for each in found["told"]} == {"TypeError"}
    found = run(CALLS, url=f"{SERVICE}/auth/", paths=["/a/../profile?x=//y#z"])
    assert {url for url, _ in found["sent"]} == {f"{SERVICE}/auth/profile?x=//y#z"}
    assert [shown for _, shown in found["sent"]] == [True, True, False]


def test_fetch_sends_the_token_to_no_look_alike() -> None:
    """⚑ What is compared is the origin of the address as it is asked for."""
    api = "https://api.example"
    there = [f"{SERVICE}/profile", f"{api}/x", f"{api}:443/x", f"{api}//evil.example/x", "https://API.example\\@x"]
    elsewhere = [
        f"{SERVICE}1/x", f"{SERVICE}@evil.example/x", f"{api}.evil.example/x", f"{api}@evil.example/x", f"{api}:8443/x",
        "http://api.example/x", "https://evil.example/https://api.example", "//evil.example/x",
    ]  # fmt: skip
    code = """
    for (const url of given.urls) await auth.fetch(url).catch(({ name }) => sent.push([name, null]));
    console.log(JSON.stringify(sent));
    """
    assert [shown for _, shown in run(code, apis=[api], urls=there)] == [True] * len(there)
    assert not any(shown for _, shown in run(code, apis=[api], urls=elsewhere))


def test_a_wrong_request_is_no_silence_of_the_service() -> None:
    """A method or body that cannot be sent is not `offline`: nothing was asked, and no one tries again."""
    found = run("""
    const loop = {};
    loop.loop = loop;
    const told = [await said(() => auth.call("NO METHOD", "/x")), await said(() => auth.call("POST", "/x", loop))];
    console.log(JSON.stringify({ told, sent }));
    """)
    assert found["sent"] == []
    assert [each.partition(":")[0] for each in found["told"]] == ["TypeError"] * 2


@pytest.mark.parametrize("more", ["?x=1", "#", "#/", "/auth?x"])
def test_the_service_has_an_address_that_paths_can_follow(more: str) -> None:
    """After `?` or `#` every path would be part of that."""
    found = run(
        """
        console.log(JSON.stringify(await said(async () => new Watchword({ url: given.other }))));
        """,
        other=SERVICE + more,
    )
    assert found.startswith(f"TypeError: url is origin and path alone; meant {SERVICE}/")
