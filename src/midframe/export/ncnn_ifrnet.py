"""IFRNet without an axis for batches, which ncnn's tensors do not have."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from midframe.export.graph import Graph
from midframe.models.blocks import resize
from midframe.models.ifrnet import IFRNet
from midframe.ops import backwarp


class SingleIFRNet(nn.Module):
    """The same function as the graph of an IFRNet, with frames one after the other.

    The network puts both frames on the batch's axis to encode them at once; here the encoder runs
    twice.

    Args:
        graph: of an `IFRNet`.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        model = graph.model
        assert isinstance(model, IFRNet)
        # pnnx loses the second call of a module, and mistakes the weights of modules in one that is
        # not called itself for their input: so there are two encoders, and all are its own children
        self.encoder_first, self.encoder_second = model.encoder, copy.deepcopy(model.encoder)
        self.decoder4, self.decoder3 = model.decoder4, model.decoder3
        self.decoder2, self.decoder1 = model.decoder2, model.decoder1
        self._graph = (graph,)  # no child
        self.scale = float(graph.frozen.get("scale_factor", 1.0))

    def forward(self, first: Tensor, second: Tensor, t: Tensor) -> Tensor:
        """Return the frame (1, 3, H, W); the inputs are those of `Graph`."""
        (graph,), given = self._graph, first
        first, second = graph.padded(first), graph.padded(second)
        axes = (1, 2, 3)
        mean = (first.mean(axes, keepdim=True) + second.mean(axes, keepdim=True)) * 0.5
        first, second = first - mean, second - mean
        flow, mask, residual = self._decoded(first, second, t)
        one, two = backwarp(first, flow[:, :2]), backwarp(second, flow[:, 2:])
        frame = mask * one + (1 - mask) * two + mean + residual
        return graph.cropped(frame.clamp(0, 1), given)

    def _decoded(self, first: Tensor, second: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return flow (1, 4, H, W) in pixels, mask and residual at full size."""
        back = 1.0 / self.scale
        one = self.encoder_first(resize(first, self.scale))
        levels = list(zip(one, self.encoder_second(resize(second, self.scale))))
        size = levels[3][0].shape[-2:]
        time = t.reshape(1, 1, 1, 1).expand(-1, -1, *size)
        out = self.decoder4(torch.cat((*levels[3], time), 1))
        flow, feature = out[:, :4], out[:, 4:]
        decoders = (self.decoder3, self.decoder2, self.decoder1)
        for decoder, (one, two) in zip(decoders, reversed(levels[:3])):
            warped = (backwarp(one, flow[:, :2]), backwarp(two, flow[:, 2:]))
            out = decoder(torch.cat((feature, *warped, flow), 1))
            flow = out[:, :4] + 2.0 * resize(flow, 2.0)
            feature = out[:, 4:]
        mask, residual = torch.sigmoid(feature[:, :1]), feature[:, 1:]
        return resize(flow, back) * back, resize(mask, back), resize(residual, back)
