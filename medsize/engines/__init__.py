"""What MONAI's engines need to train from sizes."""

from medsize.engines.prepare_batch import PrepareSizeBatch

__all__ = ["PrepareSizeBatch"]
