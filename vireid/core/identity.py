"""Run identity: what decides a result is hashed; where, by whom and how fast it ran is not."""

import hashlib
import re
from typing import Any

from vireid.core.config import canonical_json

ID_LENGTH = 12
_ID = re.compile(r"[0-9a-f]{12}")


def run_id(deciding: Any) -> str:
    """First 12 hex digits of SHA-256 over the canonical JSON of everything that decides a result."""
    return hashlib.sha256(canonical_json(deciding).encode()).hexdigest()[:ID_LENGTH]


def is_run_id(text: str) -> bool:
    """Whether ``text`` has the form of a run identity."""
    return _ID.fullmatch(text) is not None
