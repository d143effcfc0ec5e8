"""What MONAI's engines need to train from sizes."""

from medsize.engines.prepare_batch import PrepareSizeBatch
from medsize.engines.view import View

__all__ = ["PrepareSizeBatch", "View"]
