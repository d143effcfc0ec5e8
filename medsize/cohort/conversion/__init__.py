"""Conversion of scans and pictures to NIfTI without identifiers, for ``medsize init`` and ``medsize convert``."""
