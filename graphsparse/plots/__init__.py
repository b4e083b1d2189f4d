"""Pictures for papers, each on matplotlib axes: ``gs.plots.density(graph, ax=ax)``. Needs the extra ``plots``.

Every function draws on the axes ``ax`` that it is given, or on new ones, and returns them. Colours are those of Okabe and Ito,
which colour-blind readers tell apart; markers, dashes and lightness tell the same in grey. `save` writes PNG, SVG or PDF
with text as text.
"""

from graphsparse.plots.curves import curve, trajectory, trajectory_panels
from graphsparse.plots.distributions import degrees, paths
from graphsparse.plots.networks import network
from graphsparse.plots.parameters import comparison, density, mask
from graphsparse.plots.saving import picture, save

__all__ = [
    "comparison",
    "curve",
    "degrees",
    "density",
    "mask",
    "network",
    "paths",
    "picture",
    "save",
    "trajectory",
    "trajectory_panels",
]
