"""A protocol as a file of conf/benchmark writes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from midframe.benchmark.protocol import Metric, Protocol, Published
from midframe.errors import UserError
from midframe.models.base import Pad


def from_config(node: Mapping[str, Any], name: str | None = None) -> Protocol:
    """Build a protocol from plain data, as a file in conf/benchmark holds it.

    Args:
        node: what stands under ``protocol``.
        name: that of the file; ``node`` may leave it out then.

    Raises:
        UserError: naming what is unknown, missing or of the wrong form.
    """
    where = name or "benchmark"
    node = _mapping(node, f"{where}.protocol", "{version: 1, layout: ...}")
    where = node.setdefault("name", where)
    if name not in (None, where):
        raise UserError(
            f"benchmark {name}: its protocol says name: {where}; write {name} or leave it out"
        )
    if node.pop("extra", None):
        raise UserError(f"benchmark {where} has no key extra; write its columns under metrics")
    target, options = _layout(node.get("layout"), where)
    times = _items(node.get("times", (0.5,)), f"{where}.times", "[0.5]")
    if not all(isinstance(t, (int, float)) for t in times):
        raise UserError(f"benchmark {where}.times: give numbers, not {times}")
    published = _items(node.get("published"), f"{where}.published", "[{model: A, ...}]")
    subsets = _items(node.get("subsets"), f"{where}.subsets", "[test]")
    expected = _mapping(node.get("expected"), f"{where}.expected", "{test: 12}")
    node.update(
        layout=target,
        layout_options=options,
        subsets=tuple(str(s) for s in subsets),
        expected={str(s): count for s, count in expected.items()},
        times=tuple(float(t) for t in times),
        metrics=metrics_from_config(node.get("metrics"), f"{where}.metrics"),
        published=tuple(_make(Published, row, f"{where}.published") for row in published),
        pad=_pad(node.get("pad"), f"{where}.pad"),
        family=node.get("family") or "",
        hints=_mapping(node.get("hints"), f"{where}.hints", "{scale_factor: 0.5}"),
        beside=tuple(map(str, _items(node.get("beside", ()), f"{where}.beside", "[average]"))),
        submission=node.get("submission") or "",
        note=node.get("note") or "",
    )
    return _make(Protocol, node, where)  # type: ignore[no-any-return]


def metrics_from_config(node: Any, where: str) -> dict[str, Metric]:
    """Return columns by name from ``{psnr: {function: psnr}}``.

    Raises:
        UserError: naming what is unknown, missing or of the wrong form.
    """
    metrics = _mapping(node, where, "{psnr: {function: psnr}}")
    return {str(k): _make(Metric, v, f"{where}.{k}") for k, v in metrics.items()}


def _layout(node: Any, where: str) -> tuple[str, dict[str, Any]]:
    """Return the dotted name and the options of a layout, written as in conf/data or as a name."""
    options = {"_target_": node} if isinstance(node, str) else node
    if not isinstance(options, Mapping) or not isinstance(options.get("_target_"), str):
        raise UserError(
            f"benchmark {where}: layout must be like {{_target_: my_module.my_layout}}, with the "
            f"layout's options beside it, not {node!r}"
        )
    words = ("_target_", "_partial_", "_convert_")  # those of conf/data, where Hydra reads them
    return options["_target_"], {str(k): v for k, v in options.items() if k not in words}


def _pad(node: Any, where: str) -> Pad | None:
    if node is None:
        return None
    pad = _mapping(node, where, "{multiple: 16, mode: zeros}")
    pad["least"] = tuple(_items(pad.get("least", (0, 0)), f"{where}.least", "[480, 640]"))
    return _make(Pad, pad, where)  # type: ignore[no-any-return]


def _make(cls: Any, node: Any, where: str) -> Any:
    fields = dataclasses.fields(cls)
    must = {f.name for f in fields if f.default is f.default_factory is dataclasses.MISSING}
    node = _mapping(node, where, "{" + ", ".join(f"{key}: ..." for key in sorted(must)) + "}")
    unknown = sorted(set(node) - {f.name for f in fields})
    if unknown:
        known = ", ".join(sorted(f.name for f in fields))
        raise UserError(f"benchmark {where} has no key {', '.join(unknown)}; known: {known}")
    lacking = sorted(must - {key for key, value in node.items() if value is not None})
    if lacking:
        raise UserError(f"benchmark {where} lacks {', '.join(lacking)}")
    try:
        return cls(**node)
    except (TypeError, ValueError) as error:
        raise UserError(f"benchmark {where}: {error}") from error
    except UserError as error:
        said = str(error)
        raise UserError(
            said if said.startswith("benchmark") else f"benchmark {where}: {said}"
        ) from error


def _mapping(node: Any, where: str, like: str) -> dict[str, Any]:
    if not isinstance(node, (Mapping, type(None))):
        raise UserError(f"benchmark {where} must be like {like}, not {node!r}")
    return dict(node or {})


def _items(node: Any, where: str, like: str) -> list[Any]:
    if isinstance(node, str) or not isinstance(node, (Sequence, type(None))):
        raise UserError(f"benchmark {where} must be a list like {like}, not {node!r}")
    return list(node or ())
