// Finds the service by its metadata and goes through a whole life with openid-client: log in, call, refresh, end.
//
// stdin:  {issuer, username, password, guardKey}
// stdout: what each step gave
import { json } from "node:stream/consumers";

import * as client from "openid-client";

const { issuer, username, password, guardKey } = await json(process.stdin);
const found = {};

// Both places where libraries look: RFC 8414's, with the path at the end, and OpenID Connect's, with the path first.
const options = (algorithm) => ({ algorithm, execute: [client.allowInsecureRequests] });
const config = await client.discovery(new URL(issuer), "watchword", undefined, client.None(), options("oauth2"));
const other = await client.discovery(new URL(issuer), "watchword", undefined, client.None(), options("oidc"));
found.issuers = [config.serverMetadata().issuer, other.serverMetadata().issuer];

const first = await client.genericGrantRequest(config, "password", { username, password });
found.tokenType = first.token_type;
found.expiresIn = first.expiresIn();

const profile = new URL(`${issuer}/profile`);
const answer = await client.fetchProtectedResource(config, first.access_token, profile, "GET");
found.username = (await answer.json()).username;

const second = await client.refreshTokenGrant(config, first.refresh_token);
found.refreshed = second.refresh_token !== first.refresh_token;

// Asking about tokens is for guards, by their keys.
const byKey = client.ClientSecretBasic(guardKey);
const guard = await client.discovery(new URL(issuer), "guard", undefined, byKey, options("oauth2"));
const asked = await client.tokenIntrospection(guard, second.access_token);
found.before = { active: asked.active, sub: asked.sub };

await client.tokenRevocation(config, second.refresh_token);
found.after = await client.tokenIntrospection(guard, second.access_token);
found.refusal = await client.refreshTokenGrant(config, second.refresh_token).catch((error) => error.error);
found.challenge = await client.fetchProtectedResource(config, second.access_token, profile, "GET").catch((error) => ({
  status: error.status,
  scheme: error.cause?.[0]?.scheme,
  error: error.cause?.[0]?.parameters.error,
}));
console.log(JSON.stringify(found));
