"""Train medical image segmenters with MONAI from approximate sizes instead of drawn masks."""

__version__ = "0.1.0"
