-- What roles may do, and for which APIs tokens are issued.

-- One row. Each change of the tables below raises the version; tokens carry it, so that those from before can be refused.
CREATE TABLE ww_rights (
    id BIGINT PRIMARY KEY,
    version BIGINT NOT NULL
);

CREATE TABLE ww_role_scopes (
    role TEXT NOT NULL,         -- `*`: every user
    scope TEXT NOT NULL,
    PRIMARY KEY (role, scope)
);

CREATE TABLE ww_apis (
    id TEXT PRIMARY KEY,        -- never given again, so that no session outlives its API
    name TEXT NOT NULL,
    audience TEXT NOT NULL,     -- `aud` of its tokens, and what a client names as `resource`
    scopes TEXT NOT NULL,       -- space-separated, sorted: those that the API knows
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX ww_apis_name ON ww_apis (name);
CREATE UNIQUE INDEX ww_apis_audience ON ww_apis (audience);

-- `scope` is what the log-in asked for and got; empty: whatever the user's roles give.
ALTER TABLE ww_sessions ADD COLUMN api TEXT;    -- the only API; empty: the service's own audience only; null: any
