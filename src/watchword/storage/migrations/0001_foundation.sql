-- Users, sessions, signing keys, the revocation feed, the audit trail.
-- TEXT and BIGINT only; times are seconds since 1970 UTC; a flag is a time that may be null.

CREATE TABLE ww_meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE ww_users (
    id TEXT PRIMARY KEY,
    username TEXT,              -- as the user wrote it
    username_key TEXT,          -- as it is looked up
    email TEXT,
    email_key TEXT,
    email_verified_at BIGINT,
    password_hash TEXT,         -- null: no password can match
    roles TEXT NOT NULL,        -- space-separated, sorted
    token_version BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    password_set_at BIGINT,
    last_login_at BIGINT,
    disabled_at BIGINT
);
CREATE UNIQUE INDEX ww_users_username ON ww_users (username_key) WHERE username_key IS NOT NULL;
CREATE UNIQUE INDEX ww_users_email ON ww_users (email_key) WHERE email_key IS NOT NULL;

-- Which kinds of password hash exist (algorithm with its parameters), so that a failed log-in can cost the same for everybody.
CREATE TABLE ww_password_kinds (
    kind TEXT PRIMARY KEY,
    sample TEXT NOT NULL        -- hash of a random password of that kind: what an unknown user is checked against
);

CREATE TABLE ww_sessions (
    id TEXT PRIMARY KEY,
    handle_hash TEXT NOT NULL,  -- SHA-256 of the secret handle inside the refresh token
    user_id TEXT NOT NULL REFERENCES ww_users (id) ON DELETE CASCADE,
    client_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    amr TEXT NOT NULL,          -- space-separated (RFC 8176)
    auth_time BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    prev_rotated_at BIGINT,
    idle_expires_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    access_until BIGINT NOT NULL,       -- when the last access token issued for this session expires
    grace_elsewhere BIGINT NOT NULL,    -- grace answers given elsewhere since the last ordinary rotation
    ended_at BIGINT,
    end_reason TEXT,
    address TEXT NOT NULL,
    agent TEXT NOT NULL
);
CREATE UNIQUE INDEX ww_sessions_handle ON ww_sessions (handle_hash);
CREATE INDEX ww_sessions_user ON ww_sessions (user_id, id);
CREATE INDEX ww_sessions_live ON ww_sessions (user_id, id) WHERE ended_at IS NULL;

CREATE TABLE ww_signing_keys (
    kid TEXT PRIMARY KEY,       -- RFC 7638 thumbprint
    algorithm TEXT NOT NULL,
    status TEXT NOT NULL,       -- next, active, retired, revoked
    public_jwk TEXT NOT NULL,
    sealed_private TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    activated_at BIGINT,
    retired_at BIGINT,
    revoked_at BIGINT
);
-- However many processes start on an empty database at once, one key becomes active.
CREATE UNIQUE INDEX ww_signing_keys_active ON ww_signing_keys (algorithm) WHERE status = 'active';

-- One row. Its lock makes commit order equal sequence order.
CREATE TABLE ww_feed (
    id BIGINT PRIMARY KEY,
    feed_id TEXT NOT NULL,
    head BIGINT NOT NULL
);

CREATE TABLE ww_revocations (
    seq BIGINT PRIMARY KEY,
    kind TEXT NOT NULL,         -- session, user, key
    subject TEXT NOT NULL,
    min_version BIGINT,         -- user: tokens with a lower `ver` are refused
    expires_at BIGINT           -- null: never
);
CREATE INDEX ww_revocations_expiry ON ww_revocations (expires_at);

CREATE TABLE ww_audit (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    event TEXT NOT NULL,
    outcome TEXT NOT NULL,
    actor_id TEXT,
    user_id TEXT,
    session_id TEXT,
    address TEXT NOT NULL,
    agent TEXT NOT NULL,
    request_id TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX ww_audit_user ON ww_audit (user_id);

-- Counters and single-use values with a lifetime.
CREATE TABLE ww_ephemeral (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL,
    amount BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX ww_ephemeral_expiry ON ww_ephemeral (expires_at);
