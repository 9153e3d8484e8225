-- serves: 0006
-- Which process does what only one should do at a time, such as sweeping: `storage/leases.py`.
CREATE TABLE ww_leases (
    job TEXT PRIMARY KEY,
    holder TEXT NOT NULL,       -- a random id of the process
    until BIGINT NOT NULL       -- by the holder's clock
);
