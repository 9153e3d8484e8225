"""A guard in a process of its own: is given tokens, says when it refuses each. Run by `test_propagation.py`.

In: a line of JSON, `{"issuer", "tokens", "seconds"}`. Out: `ready` when it accepts them all, then a line of JSON:
the number of each refused token → the monotonic time at which it was refused, which is the same clock in all processes.
"""

from __future__ import annotations

import json
import sys
import time

from watchword.errors import TokenError
from watchword.guard import Guard


def main() -> None:
    """Watch until every token is refused or the time is over."""
    asked = json.loads(sys.stdin.readline())
    guard = Guard(asked["issuer"], audience=asked["issuer"], guard_key=asked.get("guard_key"))
    assert guard.wait_until_ready(20)
    watched = dict(enumerate(asked["tokens"]))
    for token in watched.values():
        guard.verify(token)
    print("ready", flush=True)
    refused: dict[int, float] = {}
    end = time.monotonic() + asked["seconds"]
    while watched and time.monotonic() < end:
        for number, token in list(watched.items()):
            try:
                guard.verify(token)
            except TokenError as error:
                if error.code != "token_revoked":
                    raise
                refused[number] = time.monotonic()
                del watched[number]
        time.sleep(0.002)
    print(json.dumps(refused), flush=True)


if __name__ == "__main__":
    main()
