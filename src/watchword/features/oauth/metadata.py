"""What others need in order to use and to verify our tokens: the key set (RFC 7517) and the metadata (RFC 8414).

The documents claim what works and nothing else. `issuer` is the setting, byte for byte.
"""

from __future__ import annotations

from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from watchword.features.oauth.service import TokenEndpoint
from watchword.identity.kernel import Kernel
from watchword.web.route import Anyone, Call, Header, Reply, Route

_MAX_AGE = 300


class Metadata(msgspec.Struct, frozen=True):
    """RFC 8414 section 2. No response types: there is no authorization endpoint. Empty lists are left out otherwise."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    grant_types_supported: tuple[str, ...]
    token_endpoint_auth_methods_supported: tuple[str, ...]
    response_types_supported: tuple[str, ...]


class KeySetDocument(msgspec.Struct, frozen=True):
    """RFC 7517 section 5: public keys. Empty when a shared secret signs."""

    keys: tuple[dict[str, str], ...]


class MetadataRoutes:
    """The documents. They change with the settings and the keys only, so they are made once."""

    def __init__(self, kernel: Kernel) -> None:
        issuer = kernel.settings.public_url
        metadata = Metadata(
            issuer=issuer,
            token_endpoint=f"{issuer}/token",
            jwks_uri=f"{issuer}/.well-known/jwks.json",
            grant_types_supported=TokenEndpoint(kernel).grants,
            token_endpoint_auth_methods_supported=("none",),
            response_types_supported=(),
        )
        self._metadata = msgspec.json.encode(metadata)
        self._key_set = kernel.ring.published
        self._inserted = urlsplit(issuer).path
        self._metadata_headers = _public(self._metadata)
        self._key_set_headers = _public(self._key_set)

    def table(self) -> tuple[Route, ...]:
        """Every route, under the prefix and, where the issuer has a path, in RFC 8414's inserted form at the root."""
        routes = [
            Route(method="GET", path="/.well-known/jwks.json", handler=self.key_set, guard=Anyone(),
                  summary="The public keys that verify access tokens", answers={200: KeySetDocument},
                  media_type="application/jwk-set+json"),
            self._document("/.well-known/oauth-authorization-server"),
            self._document("/.well-known/openid-configuration"),
        ]  # fmt: skip
        if self._inserted:
            routes += [
                self._document(f"/.well-known/oauth-authorization-server{self._inserted}", root=True),
                self._document(f"/.well-known/openid-configuration{self._inserted}", root=True),
            ]
        return tuple(routes)

    def _document(self, path: str, *, root: bool = False) -> Route:
        return Route(
            method="GET",
            path=path,
            handler=self.metadata,
            guard=Anyone(),
            summary="Authorization server metadata",
            answers={200: Metadata},
            root=root,
            documented=not root,
        )

    async def key_set(self, call: Call) -> Reply:
        """`GET /.well-known/jwks.json`."""
        return _unless_known(call, self._key_set, self._key_set_headers)

    async def metadata(self, call: Call) -> Reply:
        """`GET /.well-known/oauth-authorization-server` and `/.well-known/openid-configuration`."""
        return _unless_known(call, self._metadata, self._metadata_headers)


def _public(document: bytes) -> tuple[Header, ...]:
    tag = b'"%b"' % sha256(document).hexdigest()[:32].encode()
    return (b"cache-control", b"public, max-age=%d" % _MAX_AGE), (b"etag", tag), (b"access-control-allow-origin", b"*")


def _unless_known(call: Call, document: bytes, headers: tuple[Header, ...]) -> Reply:
    """The document, or 304 when the client has it (RFC 9110 section 13.1.2)."""
    tag = headers[1][1]
    shown = [value for name, value in call.scope["headers"] if name == b"if-none-match"]
    if any(tag in value or value.strip() == b"*" for value in shown):
        return Reply(None, 304, headers)
    return Reply(document, 200, headers)
