-- serves: 0013
-- Webhooks: where events go, and those on their way. An event is an audit record, written with what it tells of.

CREATE TABLE ww_webhooks (
    id TEXT PRIMARY KEY,
    url TEXT NOT NULL,
    events TEXT NOT NULL,           -- which, separated by spaces
    private_at BIGINT,              -- an operator allowed private networks; null: the public Internet only
    sealed_secret TEXT NOT NULL,
    sealed_former TEXT NOT NULL,    -- the secret before, which signs too until then; else empty
    former_until BIGINT,
    created_at BIGINT NOT NULL,
    position BIGINT NOT NULL,       -- the audit record up to which deliveries were written
    failures BIGINT NOT NULL,       -- in a row
    failing_since BIGINT,
    rests_until BIGINT NOT NULL,    -- nothing is sent before
    taken_at BIGINT,                -- the last time that anything was
    disabled_at BIGINT,
    fault TEXT                      -- of the last failure, in words of ours
);

CREATE UNIQUE INDEX ww_webhooks_url ON ww_webhooks (url);

CREATE TABLE ww_deliveries (
    webhook_id TEXT NOT NULL,
    id TEXT NOT NULL,               -- the event's, the same for every endpoint and at every try
    user_id TEXT NOT NULL,          -- whose events are told in order; empty: of no user
    place BIGINT NOT NULL,          -- in that order
    type TEXT NOT NULL,
    at BIGINT NOT NULL,
    data TEXT NOT NULL,             -- JSON: ids, nothing secret
    created_at BIGINT NOT NULL,
    due_at BIGINT,                  -- the next try; null: behind another one of the same user
    tries BIGINT NOT NULL,
    failed_at BIGINT,               -- given up
    fault TEXT,
    PRIMARY KEY (webhook_id, id)
);
CREATE INDEX ww_deliveries_due ON ww_deliveries (webhook_id, due_at, id) WHERE failed_at IS NULL AND due_at IS NOT NULL;
CREATE INDEX ww_deliveries_user ON ww_deliveries (webhook_id, user_id, place) WHERE failed_at IS NULL;
CREATE INDEX ww_deliveries_failed ON ww_deliveries (webhook_id, failed_at, id) WHERE failed_at IS NOT NULL;
