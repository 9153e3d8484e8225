// Better Auth of before, on SQLite or PostgreSQL: its own migrations make the tables, its own routes the users.
//
// stdin:  {database: the path of a SQLite file or a postgresql: URL, password, plugins: whether admin and username}
// stdout: {ada: her id, bert: his}
import { json } from "node:stream/consumers";

import { betterAuth } from "better-auth";
import { getMigrations } from "better-auth/db/migration";
import { admin, username } from "better-auth/plugins";
import { SqliteDialect } from "kysely";
import sqlite from "node-sqlite3-wasm";
import pg from "pg";

const { database, password, plugins } = await json(process.stdin);

// SQLite compiled to WebAssembly, in the shape that kysely expects: the usual driver needs a compiler.
function opened(path) {
  const file = new sqlite.Database(path);
  const prepare = (sql) => ({
    reader: /^\s*(select|with|pragma)|\breturning\b/i.test(sql),
    all: (values) => file.all(sql, values),
    run: (values) => file.run(sql, values),
    iterate: (values) => file.all(sql, values).values(),
  });
  return { prepare, close: () => file.close() };
}

const remote = database.startsWith("postgresql:");
const connection = remote ? new pg.Pool({ connectionString: database }) : opened(database);
const mailed = [];
const auth = betterAuth({
  database: remote ? connection : { dialect: new SqliteDialect({ database: connection }), type: "sqlite" },
  baseURL: "http://127.0.0.1",
  secret: "Vb8uK2pQx9Zr4TnW7cYdVn3sLq6wHe5mVb8u",
  emailAndPassword: { enabled: true },
  emailVerification: { sendVerificationEmail: async ({ token }) => void mailed.push(token) },
  telemetry: { enabled: false },
  logger: { level: "error" },
  plugins: plugins ? [admin(), username()] : [],
});
await (await getMigrations(auth.options)).runMigrations();

const email = "ada@example.com";
const called = plugins ? { username: "ada.l" } : {};
const { user: ada } = await auth.api.signUpEmail({ body: { name: "Ada", email, password, ...called } });
await auth.api.sendVerificationEmail({ body: { email } });
await auth.api.verifyEmail({ query: { token: mailed.at(-1) } });
const { internalAdapter } = await auth.$context;
const github = (name) => ({ providerId: "github", accountId: `github-${name}` });
const { user: bert } = await internalAdapter.createOAuthUser(
  { name: "Bert", email: "bert@example.com", emailVerified: false }, github("bert"),
);
await internalAdapter.linkAccount({ userId: ada.id, ...github("ada") });
const carl = await auth.api.signUpEmail({ body: { name: "Carl", email: "carl@example.com", password } });
if (plugins) {
  await internalAdapter.updateUser(ada.id, { role: "admin,editor" });
  await internalAdapter.updateUser(carl.user.id, { banned: true });
}
await (remote ? connection.end() : connection.close());
console.log(JSON.stringify({ ada: ada.id, bert: bert.id, created: ada.createdAt }));
process.exit();
