"""Image input and output: files and folders to tensors, gray planes, digits in MNIST's format."""

from __future__ import annotations

from mlpkit.data.images._center_digit import center_digit
from mlpkit.data.images._contact_sheet import contact_sheet
from mlpkit.data.images._gray import gray_plane
from mlpkit.data.images._image_folder import read_image_folder, read_sized_image
from mlpkit.data.images._ink_value import full_ink_value
from mlpkit.data.images._pillow import check_convertible, is_pil_image, pil_to_tensor

__all__ = [
    "center_digit",
    "check_convertible",
    "contact_sheet",
    "full_ink_value",
    "gray_plane",
    "is_pil_image",
    "pil_to_tensor",
    "read_image_folder",
    "read_sized_image",
]
