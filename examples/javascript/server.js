// An Express API that accepts the access tokens of a Watchword service, with express-jwt and jwks-rsa.
//
// Start the service (`make serve`), and in another terminal, in this folder:
//
//     npm ci
//     node server.js
//
// Then, in a third terminal:
//
//     $ curl -s http://127.0.0.1:4000/register -H 'Content-Type: application/json' -o /dev/null \
//         -d '{"username": "alan", "password": "plum-orbit-canvas"}'
//
//     $ TOKEN=$(curl -s http://127.0.0.1:4000/login -H 'Content-Type: application/json' \
//         -d '{"username": "alan", "password": "plum-orbit-canvas"}' | sed 's/{"access_token":"\([^"]*\)".*/\1/')
//
//     $ curl -s http://127.0.0.1:8000/notes -H "Authorization: Bearer $TOKEN"
//     {"user":"01a1f7a0-ad3d-72f2-aa04-709828f888db","notes":[]}
//
//     $ curl -s http://127.0.0.1:8000/notes
//     {"code":"token_missing","status":401}
//
//     $ curl -s http://127.0.0.1:8000/statistics -H "Authorization: Bearer $TOKEN"
//     {"code":"role_missing","status":403}
//
//     $ curl -s -X POST http://127.0.0.1:4000/logout -H "Authorization: Bearer $TOKEN"
//
// GET /notes only verifies, and goes on until the token expires. DELETE /notes asks the service.
//
//     $ curl -s http://127.0.0.1:8000/notes -H "Authorization: Bearer $TOKEN"
//     {"user":"01a1f7a0-ad3d-72f2-aa04-709828f888db","notes":[]}
//
//     $ curl -s -X DELETE http://127.0.0.1:8000/notes -H "Authorization: Bearer $TOKEN"
//     {"code":"token_revoked","status":401}
import process from "node:process";

import express from "express";
import { expressjwt } from "express-jwt";
import jwksRsa from "jwks-rsa";

const AUTH_URL = process.env.AUTH_URL ?? "http://127.0.0.1:4000";
const PORT = Number(process.env.PORT ?? 8000);

// What is answered instead; the cause is for the log.
class Refusal extends Error {
  constructor(status, code, cause) {
    super(code, { cause });
    Object.assign(this, { status, code });
  }
}

const unavailable = (cause) => {
  throw new Refusal(503, "unavailable", cause);
};

// Who sends a request, as `request.auth`. Offline: the keys are fetched once and again when a new one appears.
const caller = expressjwt({
  secret: jwksRsa.expressJwtSecret({
    jwksUri: `${AUTH_URL}/.well-known/jwks.json`,
    cache: true,
    rateLimit: true,
    // A key that is not in the set makes a bad token. A set that cannot be fetched says nothing about the token.
    handleSigningKeyError: (error, done) =>
      done(error.name === "SigningKeyNotFoundError" ? null : new Refusal(503, "unavailable", error)),
  }),
  algorithms: ["ES256"], // the one that the service signs with, and no other
  issuer: AUTH_URL,
  audience: AUTH_URL,
  isRevoked: async (request, token) => token.header.typ !== "at+jwt", // other kinds of tokens are no access tokens
});

// Whether the token has been revoked since: only the service knows. It costs a request, so ask it where that matters.
const notRevoked = async (request, response, next) => {
  const headers = { authorization: request.get("authorization") };
  const answer = await fetch(`${AUTH_URL}/verify`, { headers, signal: AbortSignal.timeout(5000) }).catch(unavailable);
  if (answer.status === 200) return next();
  if (answer.status !== 401) unavailable(`/verify answered ${answer.status}`);
  throw new Refusal(401, (await answer.json().catch(unavailable)).code);
};

const role = (name) => (request, response, next) => {
  if (!request.auth.roles?.includes(name)) throw new Refusal(403, "role_missing");
  next();
};

const app = express();
const notes = new Map();

app.get("/", (request, response) => response.json({ message: "Log in and see /notes." }));

app.use(caller); // what follows is for those who are logged in

app.get("/notes", (request, response) => {
  response.json({ user: request.auth.sub, notes: notes.get(request.auth.sub) ?? [] });
});

app.post("/notes", express.json(), (request, response) => {
  const { text } = request.body ?? {};
  if (typeof text !== "string") throw new Refusal(422, "invalid_input");
  notes.set(request.auth.sub, [...(notes.get(request.auth.sub) ?? []), text]);
  response.status(201).json({ text });
});

app.delete("/notes", notRevoked, (request, response) => {
  notes.delete(request.auth.sub);
  response.status(204).end();
});

app.get("/statistics", role("admin"), (request, response) => response.json({ users: notes.size }));

// What express-jwt and jsonwebtoken say, in the words of the service.
const CODES = {
  credentials_required: "token_missing",
  credentials_bad_scheme: "token_missing", // `Basic …`, say
  "jwt expired": "token_expired",
};

const refusal = (error) => {
  if (error instanceof Refusal) return error;
  if (error.name === "UnauthorizedError") {
    return new Refusal(401, CODES[error.code] ?? CODES[error.message] ?? "token_invalid");
  }
  if (error.status < 500) return new Refusal(error.status, "invalid_input"); // express.json: no JSON, or too much of it
  return new Refusal(500, "unexpected");
};

app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  const { status, code } = refusal(error);
  const challenge = code === "token_missing" ? "Bearer" : 'Bearer error="invalid_token"';
  if (status === 401) response.set("WWW-Authenticate", challenge);
  if (status >= 500) console.error(error);
  response.status(status).json({ code, status });
});

app.listen(PORT, "127.0.0.1", () => console.log(`Listening on http://127.0.0.1:${PORT}`));
