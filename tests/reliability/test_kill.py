"""Nothing that was answered 2xx is ever lost, however often the process is killed."""

from __future__ import annotations

import pytest

from tests.e2e.fixtures import Serve
from tests.e2e.killing import register_while_killing
from tests.e2e.server import UNLIMITED


@pytest.mark.timeout(300)
def test_2000_registrations_survive_10_kills(serve: Serve) -> None:
    """2,000 acknowledged registrations, 10 kills in the midst of them: none is missing."""
    outcome = register_while_killing(serve(**UNLIMITED), registrations=2_000, kills=10)
    print(outcome._replace(missing=[]))
    assert outcome.kills == 10
    assert outcome.refused == 0
    assert outcome.missing == []
