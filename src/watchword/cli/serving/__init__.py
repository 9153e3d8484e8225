"""Runs `watchword serve`: ports, server, worker processes."""
