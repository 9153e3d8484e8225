-- serves: 0004
-- Which code goes on beside a migration: see watchword.storage.migrate.
ALTER TABLE ww_schema ADD COLUMN serves BIGINT;
