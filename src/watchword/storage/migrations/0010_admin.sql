-- serves: 0009
-- Whether there is an administrator is asked at each start: `identity/administrators.py`.
CREATE INDEX ww_users_admin ON ww_users (id) WHERE REPLACE(' ' || roles || ' ', ' admin ', '') <> ' ' || roles || ' ';
