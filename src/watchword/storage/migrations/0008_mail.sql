-- serves: 0007
-- Mail that waits to be sent, and the links and codes in it.

-- A row is written in the transaction of what it tells of, and deleted once the mail server has the mail.
CREATE TABLE ww_outbox (
    id TEXT PRIMARY KEY,
    template TEXT NOT NULL,
    recipient TEXT,             -- null: found when it is sent, by the address of its link
    language TEXT NOT NULL,
    content TEXT NOT NULL,      -- JSON: what the template shows, nothing secret
    one_time_id TEXT,           -- the link and code that it carries
    seed TEXT,                  -- link and code are derived from it and the master secret
    created_at BIGINT NOT NULL,
    due_at BIGINT NOT NULL,     -- the next try; claiming the row moves it, so that no other process sends it
    expires_at BIGINT NOT NULL, -- no use to anyone after that
    tries BIGINT NOT NULL,
    failed_at BIGINT,           -- given up
    fault TEXT                  -- of the last try, in the mail server's words
);
CREATE INDEX ww_outbox_due ON ww_outbox (due_at, id) WHERE failed_at IS NULL;
CREATE INDEX ww_outbox_failed ON ww_outbox (failed_at, id) WHERE failed_at IS NOT NULL;

-- What a link or a code may do, once.
CREATE TABLE ww_one_time (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    address_key TEXT NOT NULL,  -- the address that it is sent to, as it is looked up
    user_id TEXT,               -- null until it is sent
    detail TEXT NOT NULL,       -- JSON: what is done when it is used
    handle_hash TEXT NOT NULL,  -- SHA-256 of what the client that asked was given; the code works with it only
    token_hash TEXT NOT NULL,   -- SHA-256 of the link's token
    code_mac TEXT NOT NULL,     -- under a sub-key of the master secret: six digits alone could be tried
    tries BIGINT NOT NULL,      -- of the code, left
    created_at BIGINT NOT NULL,
    code_until BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);
CREATE UNIQUE INDEX ww_one_time_handle ON ww_one_time (handle_hash);
CREATE UNIQUE INDEX ww_one_time_token ON ww_one_time (token_hash);
CREATE INDEX ww_one_time_user ON ww_one_time (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX ww_one_time_expiry ON ww_one_time (expires_at, id);

-- Which kinds of program log in from which networks, so that a new one is told of.
CREATE TABLE ww_devices (
    user_id TEXT NOT NULL,
    device TEXT NOT NULL,       -- a hash of the program's kind and the network
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    PRIMARY KEY (user_id, device)
);
CREATE INDEX ww_devices_seen ON ww_devices (seen_at);
