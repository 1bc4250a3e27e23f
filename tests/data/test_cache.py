import multiprocessing
import os
import signal
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from vireid.core.errors import UserError
from vireid.data import cache
from vireid.data.cache import cached_images
from vireid.data.config import SYSUConfig
from vireid.data.layout import fingerprint
from vireid.data.sysu import SYSUMM01


@pytest.fixture
def index(sysu_root):
    return SYSUMM01(SYSUConfig(), sysu_root).training("final")


def test_cache_holds_the_resized_images_in_index_order(index, tmp_path):
    seen = []
    array = cached_images(index, 32, 16, tmp_path / "cache", progress=lambda done, total: seen.append((done, total)))
    assert array.shape == (len(index), 3, 32, 16)
    assert array.dtype == np.uint8
    assert isinstance(array, np.memmap)
    assert seen[-1] == (len(index), len(index))
    for row in (0, 17, len(index) - 1):
        with Image.open(index.root / index.paths[row]) as image:
            expected = np.asarray(image.convert("RGB").resize((16, 32), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
        assert (array[row] == expected).all()
    turned = index.select(np.arange(len(index))[::-1])
    assert (cached_images(turned, 32, 16, tmp_path / "cache") == array[::-1]).all()


def test_second_use_decodes_nothing(index, tmp_path, monkeypatch):
    first = cached_images(index, 32, 16, tmp_path)
    monkeypatch.setattr(cache, "decode", lambda *a: pytest.fail("decoded again"))
    assert (cached_images(index, 32, 16, tmp_path) == first).all()


def test_stored_arrays_are_read_by_row(sysu_root, stored_arrays, tmp_path):
    for camera in range(1, 7):
        (sysu_root / f"cam{camera}").rename(tmp_path / f"away{camera}")
    index = SYSUMM01(SYSUConfig(), sysu_root).training("fit")
    array = cached_images(index, 20, 10, tmp_path / "cache")
    for row, path in enumerate(index.paths):
        name, number = path.removeprefix("train_").split("_resized_img.npy#")
        assert (array[row] == stored_arrays[name][int(number)].transpose(2, 0, 1)).all()


def test_corrupt_image_is_named_and_leaves_nothing(index, tmp_path):
    broken = index.root / index.paths[5]
    broken.write_bytes(broken.read_bytes()[:-200])  # its header is whole
    with pytest.raises(UserError, match=str(broken)):
        cached_images(index, 32, 16, tmp_path / "cache")
    assert [file.suffix for file in (tmp_path / "cache" / "images").iterdir()] == [".lock"]
    broken.unlink()
    with pytest.raises(UserError, match=str(broken)):
        cached_images(index, 32, 16, tmp_path / "cache")


def test_unwritable_cache_directory_is_named(index, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=f"{tmp_path / 'file'}.*choose another"):
        cached_images(index, 32, 16, tmp_path / "file")


def _total(index, directory):
    return int(cached_images(index, 32, 16, directory).sum(dtype=np.int64))


def test_two_processes_may_start_at_once(index, tmp_path):
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        totals = {future.result() for future in [pool.submit(_total, index, tmp_path / "cache") for _ in range(2)]}
    assert totals == {_total(index, tmp_path / "cache")}
    assert sorted(file.suffix for file in (tmp_path / "cache" / "images").iterdir()) == [".lock", ".npy"]


def _build_slowly(index, directory):
    cached_images(index, 32, 16, directory, workers=1, progress=lambda done, total: time.sleep(60))


def test_a_killed_builder_leaves_nothing_that_is_read(index, tmp_path):
    process = multiprocessing.get_context("fork").Process(target=_build_slowly, args=(index, tmp_path))
    process.start()
    deadline = time.monotonic() + 10
    while not list(tmp_path.glob("images/*.part")) and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert list(tmp_path.glob("images/*.part"))
    assert not list(tmp_path.glob("images/*.npy"))
    array = cached_images(index, 32, 16, tmp_path)
    assert all(image.any() for image in array)
    assert not list(tmp_path.glob("images/*.part"))


def test_fingerprint_depends_on_content_and_paths_only(index, tmp_path):
    value = fingerprint(index)
    assert len(value) == 16
    assert fingerprint(index, tmp_path) == value
    assert fingerprint(index, tmp_path) == value
    assert fingerprint(index.select(np.arange(len(index))[::-1]), tmp_path) == value
    assert fingerprint(replace(index, identity=index.identity + 1)) == value
    assert fingerprint(index.select(np.arange(1, len(index)))) != value
    file = index.root / index.paths[0]
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    file.write_bytes(data)
    assert fingerprint(index, tmp_path) != value


def test_fingerprint_rereads_only_what_changed(index, tmp_path, monkeypatch):
    value = fingerprint(index, tmp_path)
    monkeypatch.setattr("hashlib.file_digest", lambda *a: pytest.fail("read again"))
    assert fingerprint(index, tmp_path) == value
    memory = next((tmp_path / "fingerprints").iterdir())
    monkeypatch.undo()
    memory.write_text("{damaged")
    assert fingerprint(index, tmp_path) == value
    (index.root / index.paths[3]).unlink()
    with pytest.raises(UserError, match=index.paths[3]):
        fingerprint(index, tmp_path)
