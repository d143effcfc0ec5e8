"""Code for inference besides MONAI."""
