"""The kernel: who someone is and which session they hold. No HTTP, no routes."""
