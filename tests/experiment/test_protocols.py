from __future__ import annotations

import pytest

from vireid.core.errors import UserError
from vireid.overrides import compose

PROTOCOLS = "evaluation.protocols=[{name: regdb/split1, cmc: dedup}]"
BASE = ["data=regdb", "data.root=/data/RegDB", "model=idkl_small", "recipe=smoke", PROTOCOLS]


def test_split1_is_the_first_split():
    assert compose(BASE).evaluation.protocols[0].cmc == "dedup"
    with pytest.raises(UserError, match=r"not split 3: set data\.dataset\.split=1"):
        compose([*BASE, "data.dataset.split=3"])
