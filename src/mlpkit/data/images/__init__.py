"""Todo."""

from __future__ import annotations

from mlpkit.data.images._center_digit import center_digit
from mlpkit.data.images._contact_sheet import contact_sheet
from mlpkit.data.images._gray import gray_plane
from mlpkit.data.images._picture_folder import read_picture_folder
from mlpkit.data.images._pictures import check_convertible, is_picture, picture_to_tensor

__all__ = [
    "center_digit",
    "check_convertible",
    "contact_sheet",
    "gray_plane",
    "is_picture",
    "picture_to_tensor",
    "read_picture_folder",
]
