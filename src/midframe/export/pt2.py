"""Files of torch.export (.pt2): PyTorch's operators, without the model's Python."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.passes import move_to_device_pass
from torch.fx import GraphModule

from midframe.errors import UserError
from midframe.export.facts import KEY, LONGEST, Facts
from midframe.export.graph import Graph
from midframe.export.operators import by_index_add
from midframe.export.program import exported
from midframe.export.verify import Tell, silent
from midframe.plain_text import plain

EXTRA = f"{KEY}.json"
_KEPT = {"val", "tensor_meta"}  # of what nodes know: shapes, without which they can't be written


def write(
    graph: Graph, example: Sequence[Tensor], facts: Facts, path: Path, tell: Tell = silent
) -> None:
    """Write a graph as a .pt2 file; the arguments are those of `midframe.export.onnx.write`.

    Left out are the example's frames and where the code lay, so that a file holds weights and
    operators alone: see `midframe.export.pt2_check`.

    Raises:
        UserError: where PyTorch cannot record the graph for any size.
    """
    graph.add = by_index_add
    tell(f"recording {facts.model}")
    program = exported(graph, example, facts)
    tell(f"writing {path.name}")
    for part in program.graph_module.modules():  # of what runs without autocast, too
        for node in part.graph.nodes if isinstance(part, GraphModule) else ():
            node.meta = {key: value for key, value in node.meta.items() if key in _KEPT}
    program._example_inputs = None
    program._guards_code = []
    _save(program, facts, path)


def describe(path: Path, facts: Facts) -> None:
    """Replace the metadata of a file that `write` wrote."""
    _save(torch.export.load(path), facts, path)


def _save(program: ExportedProgram, facts: Facts, path: Path) -> None:
    program._example_inputs = None
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={EXTRA: facts.text()})


class _Heard(logging.Filter):
    """Keeps to itself what PyTorch tells of a file: it prints a traceback, and raises without it.

    Attributes:
        error: the first one that it told of.
    """

    error: BaseException | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """Let nothing through."""
        if self.error is None and record.exc_info:
            self.error = record.exc_info[1]
        return False


class Program:
    """A .pt2 file that runs, once it has been checked to hold nothing that would run on loading.

    Args:
        path: the file.
        device: where it runs, such as "cuda:1".

    Raises:
        UserError: for a file that is damaged, or holds other things than midframe writes.
    """

    def __init__(self, path: Path, device: str) -> None:
        from midframe.export.pt2_check import checked_archive

        self.path, self.device = path, torch.device(device)
        archive = checked_archive(path)
        extra, heard = {EXTRA: ""}, _Heard()
        torch_says = logging.getLogger("torch.export")
        torch_says.addFilter(heard)
        try:
            program = torch.export.load(archive, extra_files=extra)
            if self.device.type != "cpu":
                # `to` would move weights alone, not the constants and new tensors of the graph
                program = move_to_device_pass(program, self.device)
            self.module = program.module()
        except Exception as error:  # a damaged file may make the reader raise nearly anything
            why = heard.error or error
            reason = (str(why).strip().splitlines() or [type(why).__name__])[0]
            raise UserError(
                f"{path} is no program that PyTorch {torch.__version__} runs: {plain(reason)[:300]}"
            ) from error
        finally:
            torch_says.removeFilter(heard)
        self.text = extra[EXTRA][: LONGEST + 1]

    def check(self, facts: Facts) -> None:
        """Remember the inputs' names, which the program has not."""
        self.names = facts.inputs

    def __call__(self, given: Mapping[str, Tensor]) -> Tensor:
        """Return the frame (1, 3, H, W)."""
        values = [given[name].to(self.device).contiguous() for name in self.names]
        try:
            with torch.no_grad():
                frame: Tensor = self.module(*values)
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise UserError(f"{self.path} failed: {plain(reason)[:300]}") from error
        return frame
