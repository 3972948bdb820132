"""What a backend's modules provide: `Splat`, `Correlation` or `AdaCoF`, each by two functions.

They are called without gradient and without autocast. The operator has checked its arguments, so
all tensors are on one device and have at least one element unless said otherwise, but any strides:
they may be expanded, and must not be written to. Results are contiguous and share no memory with
the arguments. Sums are in float32, in float64 for float64. Nothing outside is read or written,
whatever the flow or the offsets hold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch import Tensor

if TYPE_CHECKING:  # mypy holds each module against its contract
    from midframe.ops.backends import (
        cupy_adacof,
        cupy_correlation,
        cupy_splat,
        numba_adacof,
        numba_correlation,
        numba_splat,
        torch_adacof,
        torch_correlation,
        torch_splat,
        torch_splat_cpu,
        torch_splat_gpu,
    )

    _splats: tuple[Splat, ...] = (cupy_splat, numba_splat, torch_splat)
    _splats_by_device: tuple[Splat, ...] = (torch_splat_cpu, torch_splat_gpu)
    _correlations: tuple[Correlation, ...] = (
        cupy_correlation,
        numba_correlation,
        torch_correlation,
    )
    _adacofs: tuple[AdaCoF, ...] = (cupy_adacof, numba_adacof, torch_adacof)


class Splat(Protocol):
    """`midframe.ops.splat`, whose docstring holds the mathematics."""

    def forward(
        self, input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the splat, the importance that each target accumulated, and its shift.

        Args:
            input: (N, C, H, W); float64 exactly where the flow is.
            flow: (N, 2, H, W) in float32 or float64, in which all sums are computed.
            metric: (N, 1, H, W) in the flow's dtype; None in modes sum and avg.
            mode: "sum", "avg", "linear" or "soft".
            normalize: "addeps", "zeroeps" or "clipeps".

        Returns:
            The output (N, C, H, W) in the input's dtype; the importance N (N, 1, H, W) in the
            flow's, empty in mode sum; by how much exponents are lowered (N, 1, H, W) in the flow's
            dtype, empty but in mode soft.
        """

    def backward(
        self,
        grad: Tensor,
        input: Tensor,
        flow: Tensor,
        metric: Tensor | None,
        output: Tensor | None,
        weight: Tensor,
        shift: Tensor,
        mode: str,
        normalize: str,
        needs: tuple[bool, bool, bool],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of the input, the flow and the metric.

        Args:
            grad: of the output, in the input's dtype, contiguous.
            input: as `forward` got it.
            flow: as `forward` got it.
            metric: as `forward` got it.
            output: what `forward` returned; None in mode sum.
            weight: what `forward` returned second.
            shift: what `forward` returned third.
            mode: as `forward` got it.
            normalize: as `forward` got it.
            needs: which of the three are wanted.

        Returns:
            Each in the dtype of its tensor, empty where it is not wanted.
        """


class Correlation(Protocol):
    """`midframe.ops.correlation` without a stride, which the operator cuts out of the maps."""

    def forward(self, first: Tensor, second: Tensor, radius: int) -> Tensor:
        """Return the means (N, (2 radius + 1)^2, H, W) in the maps' dtype.

        Args:
            first: (N, C, H, W).
            second: (N, C, H, W) in the same dtype.
            radius: of the displacements, in pixels.
        """

    def backward(
        self, grad: Tensor, first: Tensor, second: Tensor, radius: int, needs: tuple[bool, bool]
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of both maps, empty where one is not wanted.

        Args:
            grad: of the output, in the maps' dtype, contiguous.
            first: as `forward` got it.
            second: as `forward` got it.
            radius: as `forward` got it.
            needs: which of the two are wanted.
        """


class AdaCoF(Protocol):
    """`midframe.ops.adacof`, whose docstring holds the mathematics."""

    def forward(
        self, image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int
    ) -> Tensor:
        """Return the sums of the taps (N, C, H, W) in the tensors' dtype.

        Args:
            image: (N, C, H + (k - 1) d, W + (k - 1) d).
            weight: (N, k * k, H, W), of the image's dtype as the next two.
            alpha: (N, k * k, H, W) in pixels, vertical.
            beta: (N, k * k, H, W) in pixels, horizontal.
            dilation: d.
        """

    def backward(
        self,
        grad: Tensor,
        image: Tensor,
        weight: Tensor,
        alpha: Tensor,
        beta: Tensor,
        dilation: int,
        needs: tuple[bool, bool, bool, bool],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the gradients of image, weight, alpha and beta, empty where one is not wanted.

        Args:
            grad: of the output, in the tensors' dtype, contiguous.
            image: as `forward` got it.
            weight: as `forward` got it.
            alpha: as `forward` got it.
            beta: as `forward` got it.
            dilation: as `forward` got it.
            needs: which of the four are wanted.
        """
