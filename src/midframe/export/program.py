"""The graph as a program of PyTorch's own operators, from which .onnx and .pt2 files are made."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram
from torch.utils._sympy.value_ranges import ValueRanges

from midframe.errors import UserError
from midframe.export.facts import Facts
from midframe.export.graph import Graph
from midframe.plain_text import plain

_GREATEST = 1 << 14  # pixels of a side
_LONGEST = 200  # characters of a reason
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
        facts: of the file that it is for. A model whose ``recorded_from`` is greater than the least
            size is recorded from there on, and still takes what is smaller.

    Raises:
        UserError: where PyTorch cannot record it for any size.
    """
    least = max(facts.least, graph.model.recorded_from)
    shapes = (_shapes(example, least),) if facts.dynamic else None
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
        raise UserError(
            f"{facts.model} cannot be recorded for any size ({_reason(error)}); "
            "give --size HEIGHTxWIDTH"
        ) from error
    for sides in program.range_constraints:
        program.range_constraints[sides] = ValueRanges(facts.least, _GREATEST)
    return _unchecked(program)


def _reason(error: Exception) -> str:
    """Return why a graph cannot be recorded, in one short line.

    Of sizes PyTorch tells below its first line, one item for each: "Not all values of width =
    L['given'][0].size()[3] in the specified range width <= 16384 satisfy the generated guard
    31 <= L['given'][0].size()[3] and ...". Of this is kept what needs no knowledge of the recorder.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    listed = [line.strip()[2:] for line in lines[1:] if line.startswith("  - ")]
    text = plain("; ".join(dict.fromkeys(listed)) if listed else lines[0])
    for name, source in dict.fromkeys(re.findall(r"(\w+) = (L\['given'\]\S+\(\)\[\d+\])", text)):
        text = text.replace(f"{name} = {source}", name).replace(source, name)
    text = re.sub(r" in the specified range .*?(?= satisfy | are valid )", "", text)
    text = text.replace("satisfy the generated guard", "satisfy").rstrip(".")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


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
