"""Transforms between masks, clinicians' measurements and the fractions that the losses take."""

from medsize.transforms.click_from_mask import (
    ClickFromMask,
    ClickFromMaskD,
    ClickFromMaskd,
    ClickFromMaskDict,
)
from medsize.transforms.compute_size_target import (
    ComputeSizeTarget,
    ComputeSizeTargetD,
    ComputeSizeTargetd,
    ComputeSizeTargetDict,
)
from medsize.transforms.crop_to_roi import CropToRoi, CropToRoiD, CropToRoid, CropToRoiDict
from medsize.transforms.draw_clicks import DrawClicks, DrawClicksD, DrawClicksd, DrawClicksDict
from medsize.transforms.fill_missing_targets import (
    FillMissingTargets,
    FillMissingTargetsD,
    FillMissingTargetsd,
    FillMissingTargetsDict,
)
from medsize.transforms.fit_to_window import FitToWindow, FitToWindowD, FitToWindowd, FitToWindowDict
from medsize.transforms.hand_down_sizes import HandDownSizesD, HandDownSizesd, HandDownSizesDict
from medsize.transforms.perturb_mask import PerturbMask, PerturbMaskD, PerturbMaskd, PerturbMaskDict
from medsize.transforms.size_to_fraction import (
    SizeToFraction,
    SizeToFractionD,
    SizeToFractiond,
    SizeToFractionDict,
)
from medsize.transforms.slices import (
    RandSampleSlicesD,
    RandSampleSlicesd,
    RandSampleSlicesDict,
    SplitSlicesD,
    SplitSlicesd,
    SplitSlicesDict,
)
from medsize.transforms.soft_dice_confidence import (
    SoftDiceConfidence,
    SoftDiceConfidenceD,
    SoftDiceConfidenced,
    SoftDiceConfidenceDict,
)
from medsize.transforms.soft_label import ShiftToSize, SoftLabelD, SoftLabeld, SoftLabelDict
from medsize.transforms.tile_pictures import TilePicturesD, TilePicturesd, TilePicturesDict
from medsize.transforms.voxel_size import voxel_size

__all__ = [
    "ClickFromMask",
    "ClickFromMaskD",
    "ClickFromMaskDict",
    "ClickFromMaskd",
    "ComputeSizeTarget",
    "ComputeSizeTargetD",
    "ComputeSizeTargetDict",
    "ComputeSizeTargetd",
    "CropToRoi",
    "CropToRoiD",
    "CropToRoiDict",
    "CropToRoid",
    "DrawClicks",
    "DrawClicksD",
    "DrawClicksDict",
    "DrawClicksd",
    "FillMissingTargets",
    "FillMissingTargetsD",
    "FillMissingTargetsDict",
    "FillMissingTargetsd",
    "FitToWindow",
    "FitToWindowD",
    "FitToWindowDict",
    "FitToWindowd",
    "HandDownSizesD",
    "HandDownSizesDict",
    "HandDownSizesd",
    "PerturbMask",
    "PerturbMaskD",
    "PerturbMaskDict",
    "PerturbMaskd",
    "RandSampleSlicesD",
    "RandSampleSlicesDict",
    "RandSampleSlicesd",
    "ShiftToSize",
    "SizeToFraction",
    "SizeToFractionD",
    "SizeToFractionDict",
    "SizeToFractiond",
    "SoftDiceConfidence",
    "SoftDiceConfidenceD",
    "SoftDiceConfidenceDict",
    "SoftDiceConfidenced",
    "SoftLabelD",
    "SoftLabelDict",
    "SoftLabeld",
    "SplitSlicesD",
    "SplitSlicesDict",
    "SplitSlicesd",
    "TilePicturesD",
    "TilePicturesDict",
    "TilePicturesd",
    "voxel_size",
]
