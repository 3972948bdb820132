"""The graph as a program of PyTorch's own operators, from which .onnx and .pt2 files are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from midframe.errors import UserError
from midframe.export.facts import Facts
from midframe.export.graph import Graph
from midframe.plain_text import plain

_GREATEST = 1 << 14  # pixels of a side
_CHECKS = (
    torch.ops.aten._assert_scalar.default,
    torch.ops.aten._assert_tensor_metadata.default,
    torch.ops.aten.sym_constrain_range_for_size.default,
)


def exported(graph: Graph, example: Sequence[Tensor], facts: Facts) -> ExportedProgram:
    """Record a graph's program.

    Args:
        graph: what to record.
        example: its inputs, whose size it keeps unless it is dynamic.
        facts: of the file that it is for.

    Raises:
        UserError: where PyTorch cannot record it for any size.
    """
    shapes = (_shapes(example, facts.least),) if facts.dynamic else None
    try:
        # not strict: the graph is traced as it runs, so that operators are replaced on the way
        with torch.no_grad():
            program = torch.export.export(
                graph,
                tuple(example),
                dynamic_shapes=shapes,
                strict=False,
                # what holds for some sizes only becomes a check in the program, and no error
                prefer_deferred_runtime_asserts_over_guards=facts.dynamic,
            )
    except Exception as error:  # of many kinds, for what the recorder does not follow
        if not facts.dynamic:
            raise
        reason = plain((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]
        raise UserError(
            f"{facts.model} cannot be recorded for any size ({reason}); give --size HEIGHTxWIDTH"
        ) from error
    return _unchecked(program)


def _unchecked(program: ExportedProgram) -> ExportedProgram:
    """Take out the checks of sizes: not all formats know them, and the file says what it takes."""
    nodes = program.graph_module.graph
    for node in list(nodes.nodes):
        if node.target in _CHECKS:
            nodes.erase_node(node)
    nodes.eliminate_dead_code()
    program.graph_module.recompile()
    return program


def _shapes(example: Sequence[Tensor], least: int) -> tuple[dict[int, Any] | None, ...]:
    """Return which axes of the inputs are open: the last two of all that has pixels."""
    # the same two for all inputs: frames, events and motion have one size
    height, width = (Dim(name, min=least, max=_GREATEST) for name in ("height", "width"))
    return tuple({x.ndim - 2: height, x.ndim - 1: width} if x.ndim >= 4 else None for x in example)
