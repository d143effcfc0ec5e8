# Written by make bundles from bundles/source/shared/scripts/__init__.py.
"""Code for inference besides MONAI."""
