// Better Auth with e-mail and password on SQLite, as its documentation sets it up under Node's own HTTP server.
// HASH: `scrypt` (its default), `bcrypt` (cost 12) or `argon2id` (19 MiB, two passes, one lane). A yardstick, not an example.
import { randomBytes } from 'node:crypto';
import http from 'node:http';

import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { betterAuth } from 'better-auth';
import { getMigrations } from 'better-auth/db/migration';
import { fromNodeHeaders, toNodeHandler } from 'better-auth/node';
import Database from 'better-sqlite3';

const port = Number(process.env.PORT ?? 3000);
const ARGON2 = { algorithm: argon2.Algorithm.Argon2id, memoryCost: 19456, timeCost: 2, parallelism: 1 };
const hashes = {
  scrypt: undefined,
  bcrypt: {
    hash: (password) => bcrypt.hash(password, 12),
    verify: ({ hash, password }) => bcrypt.verify(password, hash),
  },
  argon2id: {
    hash: (password) => argon2.hash(password, ARGON2),
    verify: ({ hash, password }) => argon2.verify(hash, password),
  },
};

const database = new Database('auth.sqlite');
database.pragma('journal_mode = WAL');
const auth = betterAuth({
  database,
  baseURL: `http://127.0.0.1:${port}`,
  secret: randomBytes(32).toString('hex'),
  emailAndPassword: { enabled: true, password: hashes[process.env.HASH ?? 'scrypt'] },
  rateLimit: { enabled: false },
  telemetry: { enabled: false },
  logger: { level: 'error' },
});
await (await getMigrations(auth.options)).runMigrations();

const handler = toNodeHandler(auth);
const server = http.createServer(async (request, response) => {
  if (request.url !== '/profile') return handler(request, response);
  const session = await auth.api.getSession({ headers: fromNodeHeaders(request.headers) });
  const body = JSON.stringify(session ? { id: session.user.id, email: session.user.email } : { error: 'Unauthorized' });
  response.writeHead(session ? 200 : 401, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
  response.end(body);
});
server.listen(port, '127.0.0.1');
