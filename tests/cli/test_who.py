"""Which user a command means: by id, by name, and when a name looks like somebody's id."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.identity.scenes import join, meddle
from watchword.cli.exits import CommandError
from watchword.cli.users import find_user
from watchword.opening import opened
from watchword.settings import Settings


async def test_a_name_that_is_somebody_elses_id_disables_nobody(tmp_path: Path) -> None:
    """⚑ Whoever called themselves by the victim's id made `users disable` hit the victim."""
    async with opened(Settings(data_dir=tmp_path)) as kernel:
        victim, mallory = await join(kernel, "victim"), await join(kernel, "mallory")
        meddle(
            kernel,
            f"UPDATE ww_users SET username = '{victim.id}', username_key = '{victim.id}' WHERE id = '{mallory.id}'",
        )
        with pytest.raises(CommandError, match="id of one user and the username of another") as refused:
            await find_user(kernel, victim.id)
        assert f"id:{victim.id}" in refused.value.hint
        assert (await find_user(kernel, f"username:{victim.id}")).id == mallory.id
        for who in (
            f"id:{victim.id}",
            " victim ",
            "victim@example.org ",
            "email:victim@example.org",
            "username:victim",
        ):
            assert (await find_user(kernel, who)).id == victim.id
        assert (await find_user(kernel, mallory.id)).id == mallory.id
        for nobody in ("id:victim", "username:nobody", "", "id:"):
            with pytest.raises(CommandError, match="there is no user"):
                await find_user(kernel, nobody)
