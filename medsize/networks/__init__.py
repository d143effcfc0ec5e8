"""Starting points for networks."""

from medsize.networks.initialise import INITS, initialise

__all__ = ["INITS", "initialise"]
