import numpy as np
import pytest
from PIL import Image

from vireid.core.errors import UserError
from vireid.data.synthetic.contact_sheet import contact_sheet

from .helpers import tiny


@pytest.mark.parametrize(("layout", "columns"), [("sysu", 6), ("regdb", 2), ("llcm", 17)])
def test_sheet_has_a_column_per_camera_and_a_row_per_identity(layout, columns, tmp_path):
    config = tiny(layout, train_ids=30)
    small = contact_sheet(config, tmp_path / "one.png", identities=None, cell_height=64)
    with Image.open(small) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > columns * 32
        assert sheet.height > 6 * 64
        assert np.asarray(sheet).std() > 20


def test_an_unknown_identity_is_named(tmp_path):
    with pytest.raises(UserError, match="identity 999 is not in the dataset"):
        contact_sheet(tiny("regdb"), tmp_path / "sheet.png", identities=[999])


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        contact_sheet(tiny("regdb"), tmp_path / "file/sheet.png", identities=[1], cell_height=64)
