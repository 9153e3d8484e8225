"""Sessions: how one is opened, refreshed, listed and ended."""
