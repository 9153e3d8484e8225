"""What the service is measured against, and the bare applications that prove the harness."""
