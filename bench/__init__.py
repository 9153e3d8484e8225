"""Benchmarks of the service beside its peers: `python -m bench --help`, explained in `README.md`."""
