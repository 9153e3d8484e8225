"""How a guard follows its service: keys and revocations, fetched in the background and kept in memory."""
