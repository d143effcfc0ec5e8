"""Colour DICOM as grey."""

from __future__ import annotations

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, pixel_array
from pydicom.uid import ExplicitVRLittleEndian

__all__ = ["COLOURS", "make_grey"]

COLOURS = {"RGB": 3, "YBR_FULL": 3, "YBR_FULL_422": 3, "PALETTE COLOR": 1}
"""Values per voxel of the kinds of colour that are read."""
LUMINANCE = (0.299, 0.587, 0.114)
"""Weights of red, green and blue, ITU-R BT.601."""


def make_grey(dataset: pydicom.Dataset) -> None:
    """
    Replace the colours of an image by their luminance; equal red, green and blue are that grey.

    Raises:
        ValueError and others of ``PYDICOM_ERRORS``: when the pixels cannot be decoded.
    """
    stored = pixel_array(dataset)  # YBR becomes RGB
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        if "RedPaletteColorLookupTableDescriptor" not in dataset:
            raise ValueError("it holds indices of colours (PALETTE COLOR) without their table. Export grey values")
        stored = apply_color_lut(stored, dataset)
    grey = np.rint(stored[..., :3] @ np.array(LUMINANCE)).astype(stored.dtype.newbyteorder("<"))
    for keyword in ("PixelData", *dataset.dir("PaletteColorLookupTable", "ImagePixelValue", "PlanarConfiguration")):
        if keyword in dataset:
            del dataset[keyword]
    bits = 8 * grey.dtype.itemsize
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    content = grey.tobytes()
    dataset.add_new("PixelData", "OB" if bits == 8 else "OW", content + bytes(len(content) % 2))
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
