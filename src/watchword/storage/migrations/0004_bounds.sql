-- Nothing that is done for one user takes longer because of what that user did before.

-- Without the reference to the user: closing an account would delete all of its sessions in one statement. They are
-- ended with the account, and swept as every ended session is.
CREATE TABLE ww_sessions_next (
    id TEXT PRIMARY KEY,
    handle_hash TEXT NOT NULL,  -- SHA-256 of the secret handle inside the refresh token
    user_id TEXT NOT NULL,
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
INSERT INTO ww_sessions_next
    SELECT id, handle_hash, user_id, client_id, scope, amr, auth_time, generation, created_at, rotated_at,
        prev_rotated_at, idle_expires_at, expires_at, access_until, grace_elsewhere, ended_at, end_reason, address, agent
    FROM ww_sessions;
DROP TABLE ww_sessions;
ALTER TABLE ww_sessions_next RENAME TO ww_sessions;
CREATE UNIQUE INDEX ww_sessions_handle ON ww_sessions (handle_hash);
-- A user's own: at most a hundred.
CREATE INDEX ww_sessions_live ON ww_sessions (user_id, id) WHERE ended_at IS NULL;
-- The sweep's. No refresh changes these columns, so that none of it is written then.
CREATE INDEX ww_sessions_ended ON ww_sessions (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE INDEX ww_sessions_expiry ON ww_sessions (expires_at, id) WHERE ended_at IS NULL;

-- The longest life that access tokens were given: what refuses a user's tokens stays for so long.
INSERT INTO ww_meta (name, value)
    SELECT 'access_life', CAST(MAX(access_until - rotated_at) AS TEXT) FROM ww_sessions HAVING COUNT(*) > 0;
