"""What `watchword serve` runs: ports, server, worker processes. Only that command imports it."""
