"""Files by content: what is the same file, what is read again, and where digests are put."""

import hashlib
import json
import os
from pathlib import Path
from typing import Annotated

import pytest
import torch
from safetensors.torch import load, save

from vireid.core import files
from vireid.core.config import Component, Strict
from vireid.core.errors import UserError
from vireid.core.files import OrHub, by_content, file_digest, ordered_header, without_digest

ONE = hashlib.sha256(b"one").hexdigest()


class Part(Strict):
    table: Path


class Own(Component):
    name: str = "own"
    one: Path | None = None
    parts: list[Part] = []
    by_name: dict[str, Path] = {}
    hub: Annotated[Path | None, OrHub()] = None


def test_every_path_of_a_component_is_replaced_however_deep(tmp_path):
    file = tmp_path / "x.bin"
    file.write_bytes(b"one")
    config = Own(one=file, parts=[Part(table=file)], by_name={"a": file})
    assert without_digest(config, "m") == [f"m.{key} = {file}" for key in ("one", "parts.0.table", "by_name.a")]
    named = by_content(config, "m", names=True)
    assert {str(named.one), str(named.parts[0].table), str(named.by_name["a"])} == {f"x.bin@sha256:{ONE}"}
    assert str(by_content(config, "m").one) == f"@sha256:{ONE}"
    assert by_content(named, "m") == by_content(config, "m"), "a record is identified without its file"
    with pytest.raises(UserError, match=r"m\.parts\.0\.table = .*no\.bin: no such file"):
        by_content(Own(parts=[Part(table=tmp_path / "no.bin")]), "m")


def test_a_hub_name_is_known_by_the_whole_name_where_the_key_allows_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert by_content(Own(hub=Path("timm/clip.openai")), "m").hub == Path("timm/clip.openai")
    for config in (Own(one=Path("timm/clip")), Own(hub=Path("weights/clip.pt"))):
        with pytest.raises(UserError, match="no such file"):
            by_content(config, "m")


def test_a_folder_is_its_files_names_and_contents(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x").write_bytes(b"one")
    before = file_digest(tmp_path)
    (tmp_path / "a/x").rename(tmp_path / "a/y")
    assert file_digest(tmp_path) != before


def test_a_settled_file_is_read_once_and_a_replaced_one_again(tmp_path, monkeypatch):
    file = tmp_path / "x"
    file.write_bytes(b"one")
    monkeypatch.setattr(files, "_SETTLED_NS", 0)
    assert file_digest(file) == ONE
    with monkeypatch.context() as patch:
        patch.setattr(hashlib, "file_digest", None)
        assert file_digest(file) == ONE
    stamp = file.stat().st_mtime_ns
    file.write_bytes(b"two")
    os.utime(file, ns=(stamp, stamp))
    assert file_digest(file) == hashlib.sha256(b"two").hexdigest()


def test_weights_with_the_same_metadata_in_any_order_are_the_same_bytes():
    state = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(5, dtype=torch.float16)}
    entries = [(f"key {n}", f"Wert {n} ü") for n in range(8)]
    files = {ordered_header(save(state, dict(order))) for order in (entries, entries[::-1])}
    assert len(files) == 1
    (content,) = files
    again = load(content)
    assert all(torch.equal(again[name], state[name]) for name in state)
    size = int.from_bytes(content[:8], "little")
    assert size % 8 == 0
    assert json.loads(content[8 : 8 + size])["__metadata__"] == dict(entries)
    assert ordered_header(save(state)) == ordered_header(ordered_header(save(state)))
