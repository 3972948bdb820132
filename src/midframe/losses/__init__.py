"""Loss terms and their weighted sum."""

from midframe.losses.base import Against, Constant, Linear, Term, WeightedSum
from midframe.losses.flow import FlowDistillation, FlowSupervision
from midframe.losses.multiscale import MultiScaleEPE
from midframe.losses.perceptual import VGGFeatures
from midframe.losses.pixel import L1, L2, Charbonnier
from midframe.losses.structure import Census, Geometry, LaplacianPyramid

__all__ = [
    "L1",
    "L2",
    "Against",
    "Census",
    "Charbonnier",
    "Constant",
    "FlowDistillation",
    "FlowSupervision",
    "Geometry",
    "LaplacianPyramid",
    "Linear",
    "MultiScaleEPE",
    "Term",
    "VGGFeatures",
    "WeightedSum",
]
