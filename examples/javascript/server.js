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
//     $ curl -s -X DELETE http://127.0.0.1:8000/notes -H "Authorization: Bearer $TOKEN"
//     {"code":"token_revoked","status":401}
import process from "node:process";

import express from "express";
import { expressjwt } from "express-jwt";
import jwksRsa from "jwks-rsa";

const AUTH_URL = process.env.AUTH_URL ?? "http://127.0.0.1:4000";
const PORT = Number(process.env.PORT ?? 8000);

// Who sends a request, as `request.auth`. Offline: the keys are fetched once and again when a new one appears.
const caller = expressjwt({
  secret: jwksRsa.expressJwtSecret({ jwksUri: `${AUTH_URL}/.well-known/jwks.json`, cache: true, rateLimit: true }),
  algorithms: ["ES256"], // the one that the service signs with, and no other
  issuer: AUTH_URL,
  audience: AUTH_URL,
  isRevoked: async (request, token) => token.header.typ !== "at+jwt", // other kinds of tokens are no access tokens
});

// Whether the token has been revoked since: only the service knows. It costs a request, so ask it where that matters.
const notRevoked = async (request, response, next) => {
  const answer = await fetch(`${AUTH_URL}/verify`, { headers: { authorization: request.get("authorization") } });
  if (answer.ok) return next();
  throw refusal(answer.status === 401 ? 401 : 503, answer.status === 401 ? (await answer.json()).code : "unavailable");
};

const role = (name) => (request, response, next) => {
  if (!request.auth.roles?.includes(name)) throw refusal(403, "role_missing");
  next();
};

const refusal = (status, code) => Object.assign(new Error(code), { status, code });

// What express-jwt and jsonwebtoken say, in the words of the service.
const CODES = { credentials_required: "token_missing", "jwt expired": "token_expired" };

const app = express();
const notes = new Map();

app.get("/", (request, response) => response.json({ message: "Log in and see /notes." }));

app.use(caller); // what follows is for those who are logged in

app.get("/notes", (request, response) => {
  response.json({ user: request.auth.sub, notes: notes.get(request.auth.sub) ?? [] });
});

app.post("/notes", express.json(), (request, response) => {
  const { text } = request.body ?? {};
  if (typeof text !== "string") throw refusal(422, "invalid_input");
  notes.set(request.auth.sub, [...(notes.get(request.auth.sub) ?? []), text]);
  response.status(201).json({ text });
});

app.delete("/notes", notRevoked, (request, response) => {
  notes.delete(request.auth.sub);
  response.status(204).end();
});

app.get("/statistics", role("admin"), (request, response) => response.json({ users: notes.size }));

app.use((error, request, response, next) => {
  if (response.headersSent) return next(error);
  const refused = error.name === "UnauthorizedError";
  const status = refused ? 401 : (error.status ?? 500);
  const code = refused ? (CODES[error.code] ?? CODES[error.message] ?? "token_invalid") : (error.code ?? "unexpected");
  const challenge = code === "token_missing" ? "Bearer" : 'Bearer error="invalid_token"';
  if (status === 401) response.set("WWW-Authenticate", challenge);
  if (status >= 500) console.error(error);
  response.status(status).json({ code, status });
});

app.listen(PORT, "127.0.0.1", () => console.log(`Listening on http://127.0.0.1:${PORT}`));
