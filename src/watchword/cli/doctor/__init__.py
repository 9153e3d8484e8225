"""`watchword doctor`: looks at a deployment from inside, and attacks it from outside. `table.py` lists the checks."""
