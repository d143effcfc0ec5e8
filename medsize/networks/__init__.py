"""Starting points for networks."""

from medsize.networks.brightness import Brightness
from medsize.networks.efficientnet_lite import EfficientNetLiteEncoder, lite0_file, lite0_weights
from medsize.networks.initialise import INITS, initialise
from medsize.networks.lean_unet import LeanUNet
from medsize.networks.output_bias import start_at_fractions

__all__ = [
    "INITS",
    "Brightness",
    "EfficientNetLiteEncoder",
    "LeanUNet",
    "initialise",
    "lite0_file",
    "lite0_weights",
    "start_at_fractions",
]
