-- serves: 0015
-- API keys of users. A row says nothing that a key can be made of: a hash of its secret, and a public key.
CREATE TABLE ww_api_keys (
    id TEXT PRIMARY KEY,            -- stands in the key, and in `sid` of its access tokens
    user_id TEXT NOT NULL REFERENCES ww_users (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    secret_hash TEXT NOT NULL,      -- SHA-256 in hex
    public_key TEXT NOT NULL,       -- Ed25519 in base64url, by which weakened keys are checked
    scopes TEXT NOT NULL,           -- space-separated, sorted; empty: none
    api TEXT,                       -- the only API; empty: the service's own audience only; null: any
    created_at BIGINT NOT NULL,
    lifetime BIGINT NOT NULL,       -- seconds; its successor gets as many
    expires_at BIGINT NOT NULL,
    last_used_at BIGINT,            -- to the minute
    replaced_by TEXT                -- the key that rotation put in its place
);
CREATE INDEX ww_api_keys_user ON ww_api_keys (user_id, id);
CREATE INDEX ww_api_keys_expires ON ww_api_keys (expires_at);
