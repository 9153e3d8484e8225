"""Shows what the service counts and does: Prometheus and OpenTelemetry, each imported only when it is asked for."""
