"""Nothing that was answered 2xx is lost when the process is killed; the long version is in `tests/reliability/`."""

from __future__ import annotations

from tests.e2e.fixtures import Serve
from tests.e2e.killing import register_while_killing
from tests.e2e.server import UNLIMITED


def test_acknowledged_registrations_survive_kill_9(serve: Serve) -> None:
    """150 registrations, 3 kills in the midst of them: every acknowledged one is there, with its id."""
    outcome = register_while_killing(serve(**UNLIMITED), registrations=150, kills=3)
    assert outcome.kills == 3
    assert outcome.refused == 0
    assert outcome.missing == []
