-- Keys with which guards (APIs that verify) follow the feed, introspect and revoke.

CREATE TABLE ww_guard_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,         -- of the API that holds the key
    key_hash TEXT NOT NULL,     -- SHA-256; the key itself is shown once
    created_at BIGINT NOT NULL,
    last_used_at BIGINT,        -- to the hour
    revoked_at BIGINT
);
CREATE UNIQUE INDEX ww_guard_keys_hash ON ww_guard_keys (key_hash);
-- A name is free again when its key is revoked, so that a key is replaced without renaming the API.
CREATE UNIQUE INDEX ww_guard_keys_name ON ww_guard_keys (name) WHERE revoked_at IS NULL;
