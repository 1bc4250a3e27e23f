"""Damaged input of every kind is read or refused in words; sound input is read."""

import io
from pathlib import Path

import numpy as np
import pytest

from tests.mutations.corpus import Subject, outcome, subjects
from vireid.core.errors import UserError
from vireid.evaluation.features import read_feature_set

EACH = 20


@pytest.mark.parametrize("subject", subjects(), ids=lambda subject: subject.name)
def test_damaged_input_ends_in_words_and_sound_input_is_read(subject: Subject, tmp_path: Path) -> None:
    path = tmp_path / subject.file
    path.write_bytes(subject.sound)
    subject.read(path)
    ends = [outcome(subject, number, tmp_path) for number in range(EACH)]
    assert sum(end != "read" for end in ends) >= EACH // 3


def test_a_flipped_bit_in_stored_features_is_seen(tmp_path: Path) -> None:
    (subject,) = (subject for subject in subjects() if subject.name == "features")
    content = bytearray(subject.sound)
    with np.load(io.BytesIO(subject.sound)) as arrays:
        place = content.index(arrays["gallery"].tobytes())
    content[place + 10] ^= 1
    path = tmp_path / "features.npz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"array 'gallery' cannot be read.*not those that were written"):
        read_feature_set(path, "sysu")


def test_a_file_that_cannot_be_opened_as_text_is_named(tmp_path: Path) -> None:
    from vireid.ablation.study import read_study

    path = tmp_path / "study.yaml"
    path.write_bytes(b"name: \xff")
    with pytest.raises(UserError, match=r"study\.yaml: not YAML"):
        read_study(path)
