-- serves: 0016
-- Service accounts: programs that prove who they are by a secret or a key of their own.
CREATE TABLE ww_clients (
    id TEXT PRIMARY KEY,            -- `wwc_` and a UUID: no user's id begins so
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,           -- space-separated, sorted
    apis TEXT NOT NULL,             -- ids of the APIs that it gets tokens for; empty: the service's own audience
    serves TEXT NOT NULL,           -- id of the API that it is; empty: the service's own audience
    exchanges TEXT NOT NULL,        -- ids of the APIs that it may call on a user's behalf
    introspects BIGINT NOT NULL,    -- 1: it may ask about every token
    secret_hash TEXT,               -- SHA-256 in hex
    former_hash TEXT,               -- the secret from before, which goes on
    former_until BIGINT NOT NULL,   -- until then
    public_key TEXT,                -- or a JWK with `alg`
    version BIGINT NOT NULL,        -- `ver` of its tokens; older ones are refused
    created_at BIGINT NOT NULL,
    disabled_at BIGINT,
    last_used_at BIGINT             -- to the hour
);
CREATE UNIQUE INDEX ww_clients_name ON ww_clients (name);
