"""Pictures: PNG, JPEG, TIFF and others, and those of DICOM; their pixels, sizes of pixels and masks."""
