"""Webhooks: where they may go, how they are signed and handed over. Nothing here knows users or storage."""
