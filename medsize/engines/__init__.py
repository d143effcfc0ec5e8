"""Parts for MONAI's engines to train from sizes."""

from medsize.engines.compilation import compile_network
from medsize.engines.freed_memory import keep_freed_memory
from medsize.engines.prepare_batch import PrepareSizeBatch
from medsize.engines.two_pass_trainer import TwoPassTrainer
from medsize.engines.view import View

__all__ = ["PrepareSizeBatch", "TwoPassTrainer", "View", "compile_network", "keep_freed_memory"]
