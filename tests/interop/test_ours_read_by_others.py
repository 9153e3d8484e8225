"""Access tokens of a running service are read by the libraries that other people's APIs use, and only while good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fixtures import Serve
from tests.interop import npm
from tests.interop.issued import AUDIENCE, REFUSED, Issued, expired
from tests.interop.readers import READERS, REFUSALS
from tests.tutorials.reading import header

# Library and what it can do at all: jsonwebtoken, on which express-jwt stands, knows no Ed25519.
IN_NODE = {
    "jose": ("ES256", "RS256", "PS256", "EdDSA", "Ed25519", "HS256"),
    "jsonwebtoken": ("ES256", "RS256", "PS256", "HS256"),
    "express-jwt": ("ES256", "RS256", "PS256", "HS256"),
    "@fastify/jwt": ("ES256", "RS256", "PS256", "EdDSA", "HS256"),
}
PYTHON_CASES = [(library, name) for library, (_, names) in READERS.items() for name in names]
NODE_CASES = [(library, name) for library, names in IN_NODE.items() for name in names]


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc says so; PyJWT knows no other name for it
@pytest.mark.parametrize(("library", "algorithm"), PYTHON_CASES)
def test_python_libraries_read_our_tokens(issued: dict[str, Issued], library: str, algorithm: str) -> None:
    """With nothing but our address, or the shared secret, the library finds who the token is of."""
    one, (read, _) = issued[algorithm], READERS[library]
    assert header(one.token)["alg"] == algorithm
    assert read(one, one.readings()["good"]) == one.user_id


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")  # joserfc says so; PyJWT knows no other name for it
@pytest.mark.parametrize(("library", "algorithm"), PYTHON_CASES)
def test_python_libraries_refuse_what_we_did_not_say(issued: dict[str, Issued], library: str, algorithm: str) -> None:
    """Changed or cut, and not for another audience or from another issuer."""
    one, (read, _) = issued[algorithm], READERS[library]
    for name in REFUSED:
        with pytest.raises(REFUSALS):
            read(one, one.readings()[name])


@pytest.mark.parametrize(("library", "algorithm"), NODE_CASES)
def test_node_libraries_read_our_tokens(
    read_by_node: Any, issued: dict[str, Issued], library: str, algorithm: str
) -> None:
    """With nothing but our address, or the shared secret, the library finds who the token is of."""
    assert read_by_node[library][algorithm]["good"] == issued[algorithm].user_id


@pytest.mark.parametrize(("library", "algorithm"), NODE_CASES)
def test_node_libraries_refuse_what_we_did_not_say(read_by_node: Any, library: str, algorithm: str) -> None:
    """Changed or cut, and not for another audience or from another issuer."""
    results = read_by_node[library][algorithm]
    assert {name: results[name] for name in REFUSED} == dict.fromkeys(REFUSED)


def test_nothing_was_read_that_is_not_listed(read_by_node: Any) -> None:
    """The list above and the script say the same."""
    assert {library: tuple(results) for library, results in read_by_node.items()} == IN_NODE


def test_everybody_sees_that_a_token_has_expired(serve: Serve, node: Path) -> None:
    """A token that lives for one second, when that is over."""
    server = serve(WATCHWORD_AUDIENCE=AUDIENCE, WATCHWORD_ACCESS_LIFETIME="1s")
    late = Issued("ES256", server, expired(server))
    for read, _ in READERS.values():
        with pytest.raises(REFUSALS):
            read(late, late.readings()["good"])
    results = npm.run(node / "reading.mjs", [late.case()])
    assert {library: found["ES256"]["good"] for library, found in results.items()} == dict.fromkeys(IN_NODE)
