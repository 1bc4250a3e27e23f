import shutil
from pathlib import Path

import numpy as np
import pytest

from vireid.core.config import parse
from vireid.core.errors import UserError
from vireid.core.types import Modality
from vireid.data import DATASETS
from vireid.data.config import LLCMConfig, RegDBConfig, SYSUConfig
from vireid.data.llcm import LLCM
from vireid.data.regdb import RegDB
from vireid.data.sysu import SYSUMM01


def sysu(root: Path) -> SYSUMM01:
    return SYSUMM01(SYSUConfig(), root)


@pytest.mark.parametrize("name", DATASETS.names())
def test_registered_datasets_name_themselves(name):
    assert DATASETS.load(name).Config().name == name


def test_sysu_parts_and_fields(sysu_root):
    dataset = sysu(sysu_root)
    final, fit, dev, test = (
        dataset.training("final"),
        dataset.training("fit"),
        dataset.evaluation("dev"),
        dataset.evaluation("test"),
    )
    assert set(final.identity) == {2, 3, 5, 7, 8, 9}
    assert set(fit.identity) == {2, 5, 8, 9}
    assert set(dev.identity) == {3, 7}
    assert set(test.identity) == {6, 10}
    assert set(final.camera[final.modality == Modality.INFRARED]) == {3, 6}
    assert set(final.camera[final.modality == Modality.VISIBLE]) == {1, 2, 4, 5}
    for path, identity, camera, number in zip(test.paths, test.identity, test.camera, test.number, strict=True):
        assert path == f"cam{camera}/{identity:04d}/{number:04d}.jpg"
        assert (sysu_root / path).is_file()
    assert len(test) == 2 * 6 * 2


def test_sysu_permutations(sysu_root):
    permutations = sysu(sysu_root).permutations()
    assert permutations[1, 6].shape == (10, 2)
    assert set(permutations[1, 6].ravel()) == {1, 2}
    assert (5, 7) not in permutations
    assert (5, 6) in permutations
    (sysu_root / "exp" / "rand_perm_cam.mat").write_bytes(b"no mat file")
    with pytest.raises(UserError, match=r"rand_perm_cam\.mat"):
        sysu(sysu_root).permutations()
    (sysu_root / "exp" / "rand_perm_cam.mat").unlink()
    with pytest.raises(UserError, match=r"rand_perm_cam\.mat is missing.*exp/"):
        sysu(sysu_root).permutations()


def test_sysu_arrays_serve_training_without_images(sysu_root, stored_arrays):
    assert sysu(sysu_root).training("final").paths[0].startswith("cam1/")
    for camera in range(1, 7):
        shutil.rmtree(sysu_root / f"cam{camera}")
    final = sysu(sysu_root).training("final")
    assert len(final) == 20
    assert final.paths[0] == "train_rgb_resized_img.npy#0"
    assert final.identity[:6].tolist() == [2, 3, 5, 7, 8, 9]  # labels count the sorted train and val identities
    assert (final.modality == Modality.INFRARED).sum() == 8
    assert set(final.camera) == {0}
    assert set(sysu(sysu_root).training("fit").identity) == {2, 5, 8, 9}
    with pytest.raises(UserError, match="unpack the JPEG tree"):
        sysu(sysu_root).evaluation("test")


def test_sysu_arrays_are_never_unpickled(sysu_root, stored_arrays):
    for camera in range(1, 7):
        shutil.rmtree(sysu_root / f"cam{camera}")
    np.save(sysu_root / "train_ir_resized_label.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(UserError, match=r"train_ir_resized_label\.npy cannot be read"):
        sysu(sysu_root).training("final")
    np.save(sysu_root / "train_ir_resized_label.npy", np.arange(8))
    with pytest.raises(UserError, match="labels from 0 to 7"):
        sysu(sysu_root).training("final")


def test_regdb_splits(regdb_root):
    first = RegDB(RegDBConfig(split=1), regdb_root)
    final, test = first.training("final"), first.evaluation("test")
    assert final.num_identities == test.num_identities == 5
    assert not set(final.paths) & set(test.paths)
    assert all(
        path.startswith("Thermal/") == bool(modality)
        for path, modality in zip(final.paths, final.modality, strict=True)
    )
    assert set(final.paths) != set(RegDB(RegDBConfig(split=2), regdb_root).training("final").paths)
    assert first.permutations() is None
    with pytest.raises(UserError, match=r"train_visible_3\.txt is missing"):
        RegDB(RegDBConfig(split=3), regdb_root).training("final")
    with pytest.raises(UserError, match="split = 11"):
        parse(RegDBConfig, {"name": "regdb", "split": 11}, "data")


@pytest.mark.parametrize("make", ["regdb", "llcm"])
def test_dev_identities_are_held_out_training_identities(make, regdb_root, llcm_root):
    dataset = {"regdb": RegDB(RegDBConfig(), regdb_root), "llcm": LLCM(LLCMConfig(), llcm_root)}[make]
    final, fit, dev = dataset.training("final"), dataset.training("fit"), dataset.evaluation("dev")
    assert dev.num_identities == 1
    assert set(fit.paths) | set(dev.paths) == set(final.paths)
    assert not set(fit.identity) & set(dev.identity)
    assert dev.paths == dataset.evaluation("dev").paths


def test_llcm_cameras(llcm_root):
    dataset = LLCM(LLCMConfig(), llcm_root)
    test, final = dataset.evaluation("test"), dataset.training("final")
    for index in (test, final):
        assert set(index.camera[index.modality == Modality.VISIBLE]) == {1, 2, 3}
        assert set(index.camera[index.modality == Modality.INFRARED]) == {1, 2}
    assert test.paths[0] == "test_vis/cam1/0003/0003_c01_s1_f1_vis.jpg"
    assert all((llcm_root / path).is_file() for path in test.paths + final.paths)
    assert final.paths[0].startswith("vis/0001/")


def test_llcm_lists_name_the_files_of_the_test_folders(llcm_root, regdb_root):
    dataset = LLCM(LLCMConfig(), llcm_root)
    assert dataset.test_list() == {path.rpartition("/")[2] for path in dataset.evaluation("test").paths}
    assert RegDB(RegDBConfig(), regdb_root).test_list() is None


def test_errors_name_path_and_remedy(sysu_root, regdb_root, llcm_root, tmp_path):
    with pytest.raises(UserError, match=r"root .*nowhere is not a directory: set data\.root"):
        sysu(tmp_path / "nowhere")
    with pytest.raises(UserError, match=f"did you mean {sysu_root}"):
        sysu(tmp_path)
    (sysu_root / "exp" / "val_id.txt").unlink()
    with pytest.raises(UserError, match=r"val_id\.txt is missing.*exp/ folder"):
        sysu(sysu_root).training("final")
    for camera in (3, 6):
        shutil.rmtree(sysu_root / f"cam{camera}" / "0005")
    with pytest.raises(UserError, match=r"training identity 5 has no infrared image.*cam1/0005/0001\.jpg"):
        sysu(sysu_root).training("fit")
    (llcm_root / "idx" / "test_id.txt").write_text("3,six\n")
    with pytest.raises(UserError, match=r"test_id\.txt.*'six'"):
        LLCM(LLCMConfig(), llcm_root).evaluation("test")
    lines = regdb_root / "idx" / "train_visible_1.txt"
    lines.write_text(lines.read_text() + "Visible/1/lonely.bmp\n")
    with pytest.raises(UserError, match=r"train_visible_1\.txt, line 11: expected 'path label'"):
        RegDB(RegDBConfig(), regdb_root).training("final")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: b"\xef\xbb\xbf" + text.encode(),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("/", "\\").encode(),
        lambda text: text.replace("\n", " \t\n").encode(),
        lambda text: ("\n" + text.replace("\n", "\n\n") + "  \n").encode(),
        lambda text: text.encode("utf-16"),
        lambda text: ("\ufeff" + text.replace("/", "\\").replace("\n", "  \r\n\r\n")).encode(),
    ],
    ids=["byte order mark", "Windows line ends", "backslashes", "trailing blanks", "empty lines", "UTF-16", "all"],
)
def test_lists_read_the_same_however_they_were_saved(sysu_root, regdb_root, llcm_root, spoil):
    layouts = [sysu(sysu_root), RegDB(RegDBConfig(), regdb_root), LLCM(LLCMConfig(), llcm_root)]

    def read():
        indices = [index for it in layouts for index in (it.training("final"), it.evaluation("test"))]
        return [(index.paths, index.identity.tolist()) for index in indices], layouts[2].test_list()

    before = read()
    for file in [*(sysu_root / "exp").glob("*.txt"), *(regdb_root / "idx").glob("*"), *(llcm_root / "idx").glob("*")]:
        file.write_bytes(spoil(file.read_text()))
    assert read() == before


def test_leftovers_of_other_systems_are_left_alone(sysu_root, llcm_root):
    test = LLCM(LLCMConfig(), llcm_root).evaluation("test")
    for folder in (llcm_root / "test_nir/cam1/0003", sysu_root / "cam1/0006"):
        (folder / "._0001.jpg").write_bytes(b"\0\5\x16\7")
        (folder / "Thumbs.db").write_bytes(b"\xd0\xcf")
        (folder / ".DS_Store").write_bytes(b"Bud1")
    (sysu_root / "__MACOSX" / "cam1").mkdir(parents=True)
    assert LLCM(LLCMConfig(), llcm_root).evaluation("test").paths == test.paths
    assert len(sysu(sysu_root).evaluation("test")) == 2 * 6 * 2


def test_folders_that_would_be_left_out_are_named(sysu_root, llcm_root, tmp_path):
    (sysu_root / "cam7").mkdir()
    assert len(sysu(sysu_root).evaluation("test")) == 24  # an empty folder leaves nothing out
    shutil.copytree(sysu_root / "cam1" / "0006", sysu_root / "cam7" / "0006")
    with pytest.raises(UserError, match=r"camera folders of other numbers.* \(cam7\).*infrared cameras cam3 and cam6"):
        sysu(sysu_root).training("final")
    shutil.rmtree(sysu_root / "cam7")
    for name in ("0002", "0006"):
        (sysu_root / "cam1" / name).rename(sysu_root / "cam1" / str(int(name)))
    message = r"identity folders that are not .*left out \(cam1/2, cam1/6\): rename.*as cam1/2 to cam1/0002"
    for read in (lambda it: it.training("fit"), lambda it: it.evaluation("test")):
        with pytest.raises(UserError, match=message):
            read(sysu(sysu_root))
    (llcm_root / "test_nir" / "cam1").rename(llcm_root / "test_nir" / "cam3")
    with pytest.raises(UserError, match=r"\(test_nir/cam3\).*test_nir has cam1, cam2, cam4"):
        LLCM(LLCMConfig(), llcm_root).evaluation("test")
    for number in range(1, 7):
        camera = sysu_root / f"cam{number}"
        for folder in sorted(camera.iterdir()):
            folder.rename(camera / f"person_{folder.name}")
    words = r"no images found: test identities.*\(cam1 holds person_0003, person_0005, person_0007 and 5 more; expected"
    with pytest.raises(UserError, match=words):
        sysu(sysu_root).evaluation("test")
    (tmp_path / "other" / "camera_a").mkdir(parents=True)
    with pytest.raises(UserError, match=r"expected one of cam1, cam3.* found camera_a"):
        sysu(tmp_path / "other")
