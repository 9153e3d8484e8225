-- However many processes apply the schedule at once, one key becomes the next.
CREATE UNIQUE INDEX ww_signing_keys_next ON ww_signing_keys (algorithm) WHERE status = 'next';
