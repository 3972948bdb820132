"""Loss terms and their weighted sum."""

from midframe.losses.adversarial import Adversarial, CriticTerm
from midframe.losses.base import Against, Constant, Linear, Term, WeightedSum
from midframe.losses.distillation import Distillation
from midframe.losses.flow import FlowDistillation, FlowSupervision
from midframe.losses.forward_flow import ForwardFlowSupervision
from midframe.losses.multiscale import MultiScaleEPE
from midframe.losses.perceptual import VGGFeatures
from midframe.losses.pixel import L1, L2, Charbonnier, LogL2
from midframe.losses.structure import Census, Geometry, LaplacianPyramid

__all__ = [
    "L1",
    "L2",
    "Adversarial",
    "Against",
    "Census",
    "Charbonnier",
    "Constant",
    "CriticTerm",
    "Distillation",
    "FlowDistillation",
    "FlowSupervision",
    "ForwardFlowSupervision",
    "Geometry",
    "LaplacianPyramid",
    "Linear",
    "LogL2",
    "MultiScaleEPE",
    "Term",
    "VGGFeatures",
    "WeightedSum",
]
