"""First labels: a segmentation of the training scans from their sizes, before any training."""

from medsize.first_labels.atlas import AtlasScan, atlas_rounds
from medsize.first_labels.clicks import GrowingScan, ball_radius, labelled_points
from medsize.first_labels.closer_look import look_closer
from medsize.first_labels.features import FEATURES, SliceFeatures
from medsize.first_labels.first_label import FirstLabelD, FirstLabeld, FirstLabelDict
from medsize.first_labels.first_labels import FirstLabels
from medsize.first_labels.growth import Growth
from medsize.first_labels.label_folder import label_file, make_first_labels
from medsize.first_labels.mixture import Mixture, choose_iterations, fit_mixture
from medsize.first_labels.neighbours import mean_of_neighbours
from medsize.first_labels.own_intensities import explained_by_levels, intensity_levels, level_likelihood
from medsize.first_labels.separability import rank_of_fractions, separability, separability_of_pairs
from medsize.first_labels.words import Words

__all__ = [
    "FEATURES",
    "AtlasScan",
    "FirstLabelD",
    "FirstLabelDict",
    "FirstLabeld",
    "FirstLabels",
    "GrowingScan",
    "Growth",
    "Mixture",
    "SliceFeatures",
    "Words",
    "atlas_rounds",
    "ball_radius",
    "choose_iterations",
    "explained_by_levels",
    "fit_mixture",
    "intensity_levels",
    "label_file",
    "labelled_points",
    "level_likelihood",
    "look_closer",
    "make_first_labels",
    "mean_of_neighbours",
    "rank_of_fractions",
    "separability",
    "separability_of_pairs",
]
