"""DICOM: series, multi-frame files, segmentations, RTSTRUCT and SUV."""
