"""Splatting in CUDA kernels: three forms forward, one backward.

- ``atomic``: every source adds to its four targets. Least work for few channels, but each channel
  costs four atomic additions, a zero-fill and a pass that divides.
- ``linked``: the sources of each cell between four pixels become a linked list, and every target
  gathers from the lists of its four cells. Each element is read and written once.
- ``sorted``: the same, with sorted sources instead of lists: the same bits in every run.

Sums are in float32 (float64 for float64), whatever the input's dtype. Nothing waits for the GPU,
and all memory is PyTorch's, so a call can be captured into a CUDA graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
from torch import Tensor

from midframe.ops.backends import launcher
from midframe.ops.backends.launcher import Kernel
from midframe.ops.splat import MODES, NORMALIZE

FORMS = ("atomic", "linked", "sorted")
SUM, SOFT = MODES.index("sum"), MODES.index("soft")

ATOMIC_CHANNELS = 2
THREADS = 128
FILL = 2**17  # threads that keep a large GPU busy: 132 multiprocessors with 1024 each
LEAST, MOST = 4, 16  # channels of a thread that gathers or scatters, where there is a choice
SMALL = 4  # channels up to which the gathering kernel with few registers is taken
LARGEST_ROWS, LARGEST_COLUMNS = 2**15, 2**16  # a linked source is 16 bits of row, 16 of column
LARGEST_GRID_Y = 2**16 - 1

Result = tuple[Tensor, Tensor, Tensor]
_kernels: dict[tuple[object, ...], Kernel] = {}


def form_for(channels: int, pixels: int) -> str:
    """Choose how to splat forward where the sums' order is free.

    By bytes to and from memory per pixel, in float32, with accumulators that leave the cache:

    ======== ========= =========
    mode     atomic    linked
    ======== ========= =========
    sum      16 C + 8  8 C + 40
    avg      24 C + 24 8 C + 44
    soft     24 C + 44 8 C + 52
    ======== ========= =========

    (atomic: zero-fill, input, accumulators read and written, division; linked: list heads filled,
    exchanged and read, links, flow and metric twice, input, output). Atomic also adds 16 bytes per
    channel in the cache; linked waits for memory three times in a row. An estimate to be replaced
    by a measurement; linked is slow only where thousands of sources meet in one cell.

    Args:
        channels: of the input.
        pixels: of the whole batch; without influence so far, since both forms take as many
            launches.

    Returns:
        "atomic" or "linked".
    """
    del pixels
    return "atomic" if channels <= ATOMIC_CHANNELS else "linked"


def forward(
    input: Tensor, flow: Tensor, metric: Tensor | None, mode: str, normalize: str
) -> Result:
    """Splat; see `contract.Splat`."""
    if torch.are_deterministic_algorithms_enabled():
        form = "sorted"
    else:
        batch, channels, height, width = input.shape
        form = form_for(channels, batch * height * width)
        if form == "linked" and not _linkable(input):
            form = "atomic"
    return forward_with(form, input, flow, metric, mode, normalize)


def forward_with(
    form: str,
    input: Tensor,
    flow: Tensor,
    metric: Tensor | None,
    mode: str,
    normalize: str,
    wide: bool | None = None,
) -> Result:
    """Splat in one of `FORMS`.

    Args:
        form: which.
        input: of `contract.Splat`, as the next four.
        flow: likewise.
        metric: likewise.
        mode: likewise.
        normalize: likewise.
        wide: index with 64 bits; None lets the sizes decide.

    Returns:
        as `forward`.

    Raises:
        ValueError: if there is no such form, or an image is too large for linked lists.
    """
    if form not in FORMS or (form == "linked" and not _linkable(input)):
        raise ValueError(f"splat: no form {form!r} for an input {tuple(input.shape)}")
    input, flow = input.contiguous(), flow.contiguous()
    metric = flow if metric is None else metric.contiguous()
    if wide is None:
        wide = _is_wide(input)
    run = _scatter if form == "atomic" else _gather
    return run(form, input, flow, metric, MODES.index(mode), NORMALIZE.index(normalize), wide)


def backward(
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
    wide: bool | None = None,
) -> Result:
    """Return the gradients; see `contract.Splat`. ``wide`` is that of `forward_with`."""
    input, flow, grad = input.contiguous(), flow.contiguous(), grad.contiguous()
    own = None if metric is None else metric.contiguous()
    output = grad if output is None else output.contiguous()
    batch, channels, height, width = input.shape
    pixels = batch * height * width
    if wide is None:
        wide = _is_wide(input)
    gi = torch.empty_like(input) if needs[0] else input.new_empty(0)
    gf = torch.empty_like(flow) if needs[1] else flow.new_empty(0)
    with_metric = needs[2] and own is not None
    gm = torch.empty_like(own) if own is not None and needs[2] else flow.new_empty(0)
    across, groups = _block(channels, pixels)
    launcher.launch(
        _kernel("splat_backward", "splat_backward", input.dtype, wide, MODE=MODES.index(mode)),
        (-(-pixels // across), 1, 1),
        (across, groups, 1),
        (grad, input, flow, flow if own is None else own, output, weight, shift, gi, gf, gm)
        + (channels, height, width, pixels, NORMALIZE.index(normalize))
        + (int(needs[0]), int(needs[1]), int(with_metric)),
        input.device,
    )
    return gi, gf, gm


def _scatter(
    form: str, input: Tensor, flow: Tensor, metric: Tensor, mode: int, normalize: int, wide: bool
) -> Result:
    batch, channels, height, width = input.shape
    pixels, device = batch * height * width, input.device
    output, weight, shift = _outputs(input, flow, mode)
    same = input.dtype == flow.dtype
    total = output if same else torch.empty(input.shape, dtype=flow.dtype, device=device)
    file, dtype = "splat_scatter", input.dtype
    blocks = -(-pixels // THREADS)
    block = (THREADS, 1, 1)
    groups, size = _groups(channels, pixels, channels)
    grid = (blocks, groups, 1)
    launcher.launch(
        _kernel(file, "splat_clear", dtype, wide, MODE=mode),
        (min(blocks * channels, 2**16), 1, 1),
        block,
        (total, total.numel(), weight, weight.numel(), shift, shift.numel()),
        device,
    )
    if mode == SOFT:
        launcher.launch(
            _kernel(file, "splat_raise", dtype, wide, MODE=mode),
            (blocks, 1, 1),
            block,
            (flow, metric, shift, height, width, pixels),
            device,
        )
    launcher.launch(
        _kernel(file, "splat_scatter", dtype, wide, MODE=mode),
        grid,
        block,
        (input, flow, metric, shift, total, weight, channels, height, width, pixels, size),
        device,
    )
    if mode != SUM:
        launcher.launch(
            _kernel(file, "splat_normalize", dtype, wide, MODE=mode),
            grid,
            block,
            (total, weight, shift, output, channels, height * width, pixels, size, normalize),
            device,
        )
    elif not same:
        output = total.to(dtype)
    return output, weight, shift


def _gather(
    form: str, input: Tensor, flow: Tensor, metric: Tensor, mode: int, normalize: int, wide: bool
) -> Result:
    batch, channels, height, width = input.shape
    pixels, device = batch * height * width, input.device
    first, second = (_sort if form == "sorted" else _link)(flow, wide)
    output, weight, shift = _outputs(input, flow, mode)
    small = channels <= SMALL and form == "linked" and not wide
    chunk = SMALL if small else MOST
    groups, size = _groups(channels, pixels, chunk)
    launcher.launch(
        _kernel(
            "splat_gather",
            "splat_gather",
            input.dtype,
            wide,
            MODE=mode,
            SORTED=int(form == "sorted"),
            CHUNK=chunk,
        ),
        (-(-pixels // THREADS), groups, 1),
        (THREADS, 1, 1),
        (input, flow, metric, first, second, output, weight, shift)
        + (channels, height, width, pixels, size, normalize),
        device,
    )
    return output, weight, shift


def _link(flow: Tensor, wide: bool) -> tuple[Tensor, Tensor]:
    """Return each cell's first source and each source's next one."""
    batch, _, height, width = flow.shape
    pixels, cells = batch * height * width, batch * (height + 1) * (width + 1)
    head = torch.full((cells,), -1, dtype=torch.int32, device=flow.device)
    following = torch.empty(pixels, dtype=torch.int32, device=flow.device)
    launcher.launch(
        _kernel("splat_bins", "splat_link", flow.dtype, wide),
        (-(-pixels // THREADS), 1, 1),
        (THREADS, 1, 1),
        (flow, head, following, height, width, pixels),
        flow.device,
    )
    return head, following


def _sort(flow: Tensor, wide: bool) -> tuple[Tensor, Tensor]:
    """Return where each cell's sources start, and the sources, each cell's in rising order."""
    batch, _, height, width = flow.shape
    pixels, cells = batch * height * width, batch * (height + 1) * (width + 1)
    dtype = torch.int64 if wide else torch.int32
    keys = torch.empty(pixels, dtype=dtype, device=flow.device)
    launcher.launch(
        _kernel("splat_bins", "splat_keys", flow.dtype, wide),
        (-(-pixels // THREADS), 1, 1),
        (THREADS, 1, 1),
        (flow, keys, height, width, pixels, cells),
        flow.device,
    )
    keys, order = torch.sort(keys, stable=True)
    starts = torch.empty(cells + 1, dtype=dtype, device=flow.device)
    launcher.launch(
        _kernel("splat_bins", "splat_starts", flow.dtype, wide),
        (-(-(cells + 1) // THREADS), 1, 1),
        (THREADS, 1, 1),
        (keys, starts, pixels, cells),
        flow.device,
    )
    return starts, order


def _outputs(input: Tensor, flow: Tensor, mode: int) -> Result:
    batch, _, height, width = input.shape
    plane = (batch, 1, height, width)
    return (
        torch.empty_like(input),
        flow.new_empty(plane if mode != SUM else 0),
        flow.new_empty(plane if mode == SOFT else 0),
    )


def _groups(channels: int, pixels: int, most: int) -> tuple[int, int]:
    """Return how many groups the channels are split into, and the channels of each.

    At most ``most`` channels in a group, fewer (but at least `LEAST`) where there are too few
    pixels to keep the GPU busy.
    """
    groups = max(-(-channels // most), min(FILL // pixels, -(-channels // LEAST)), 1)
    size = max(-(-channels // groups), -(-channels // LARGEST_GRID_Y))
    return -(-channels // size), size


def _block(channels: int, pixels: int) -> tuple[int, int]:
    """Return the pixels and the groups of channels of a block of the backward kernel.

    One group, which does the work common to all channels once, unless there are too few pixels.
    Eight neighbouring pixels still fill the 32 bytes that memory moves at a time.
    """
    groups = 1
    while groups < 32 and pixels * groups < FILL and groups * LEAST < channels:
        groups *= 2
    return (THREADS // groups if groups <= 4 else 256 // groups), groups


def _linkable(input: Tensor) -> bool:
    """Whether 16 bits name each row, 16 each column."""
    return input.shape[2] <= LARGEST_ROWS and input.shape[3] <= LARGEST_COLUMNS


def _is_wide(input: Tensor) -> bool:
    """Whether an index may leave 32 bits: of an element, a flow component, a cell or a thread."""
    batch, channels, height, width = input.shape
    return launcher.is_wide(batch * max(channels, 4) * (height + 1) * (width + 1) + 2**12)


def _kernel(file: str, name: str, scalar: torch.dtype, wide: bool, **defines: int) -> Kernel:
    key = (name, scalar, wide, *defines.values())
    found = _kernels.get(key)
    if found is None:
        found = _kernels[key] = launcher.kernel(file, name, scalar, wide, **defines)
    return found


def variants() -> Iterator[Kernel]:
    """Yield every kernel as it can be launched."""
    for wide, dtype in product((False, True), launcher.SCALARS):
        if dtype in (torch.float32, torch.float64):  # the flow's
            for name in ("splat_link", "splat_keys", "splat_starts"):
                yield _kernel("splat_bins", name, dtype, wide)
        for mode in range(len(MODES)):
            names = ["splat_clear", "splat_scatter"]
            names += ["splat_raise"] if mode == SOFT else []
            names += ["splat_normalize"] if mode != SUM else []
            for name in names:
                yield _kernel("splat_scatter", name, dtype, wide, MODE=mode)
            for by_key, chunk in ((0, SMALL), (0, MOST), (1, MOST)):
                if wide and chunk == SMALL:
                    continue
                defines = {"MODE": mode, "SORTED": by_key, "CHUNK": chunk}
                yield _kernel("splat_gather", "splat_gather", dtype, wide, **defines)
            yield _kernel("splat_backward", "splat_backward", dtype, wide, MODE=mode)
