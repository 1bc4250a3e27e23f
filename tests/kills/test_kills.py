"""The short form of ``make soak``: three kills."""

import pytest

from tests.kills.__main__ import main


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_three_kills_lose_nothing(capsys):
    assert main(3) == 0, capsys.readouterr().out
