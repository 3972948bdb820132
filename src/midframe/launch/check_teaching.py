"""Find what cannot work about a teacher of frames, or a critic that learns beside the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from midframe.data.module import Data
from midframe.engine.build import plain
from midframe.engine.enrich import TeacherFrames
from midframe.engine.teachers import teacher_config
from midframe.errors import UserError
from midframe.losses import CriticTerm, Distillation
from midframe.losses.distillation import check_alpha
from midframe.models import zoo
from midframe.models.base import Interpolator
from midframe.nodes import find_target

HALF = 0.5


def find_problems(
    cfg: DictConfig, model: Interpolator, needs: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    """Yield what is wrong, and what to do about it.

    Args:
        cfg: of a training, whose nodes name what they should.
        model: without memory for its weights.
        needs: by the names of the loss's active terms, see `Term.needs_of`.
    """
    yield from _critics(cfg, needs)
    if "alpha" in cfg.loss and find_target(cfg.loss._target_, "loss") is Distillation:
        try:
            check_alpha(cfg.loss.alpha)
        except UserError as error:
            yield str(error)
    teacher = teacher_of(cfg)
    if teacher is not None:
        yield from _teacher(cfg, model, teacher, needs)


def teacher_of(cfg: DictConfig) -> type[Interpolator] | None:
    """Return the class of the teacher of frames, None where there is none."""
    for node in cfg.teacher.get("enrich") or []:
        if find_target(node._target_, "teacher.enrich") is TeacherFrames and "name" in cfg.teacher:
            return zoo.check_config(teacher_config(cfg.teacher.name, cfg.teacher.weights))
    return None


def what_gives_no_frames(cfg: DictConfig) -> str:
    """Return who could give a teacher's frames and does not, for messages."""
    adds = [find_target(x._target_, "teacher.enrich") for x in cfg.teacher.get("enrich") or []]
    if any("flow" in getattr(enricher, "adds", ()) for enricher in adds):
        chosen = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
        who = f"teacher={chosen['teacher']}" if "teacher" in chosen else "the teacher"
        return f"is frames of a teacher: {who} gives flow"
    return f"model={cfg.model.name} with data={cfg.data.name} does not give"


def check_times(cfg: DictConfig, data: Data) -> None:
    """Raise `UserError` if targets lie where the model or its teacher cannot predict.

    Where they lie is known only once the data set is indexed.
    """
    clips = data.clips(data.split)
    times = sorted({clips[i].time(t) for i in (0, len(clips) - 1) for t in clips[i].targets})
    elsewhere = [time for time in times if abs(time - HALF) > 1e-6]
    if cfg.data.get("times") == "any" or not elsewhere:
        return
    for who, cls in (("model", zoo.check_config(plain(cfg.model))), ("teacher", teacher_of(cfg))):
        if cls is not None and cls.times == "half":
            raise UserError(
                f"{who}={cfg[who].name} knows only t = 0.5, but clips of data={cfg.data.name} have "
                f"targets at {', '.join(f'{time:.3g}' for time in times)}; choose data (or options "
                "of data.layout) with the middle frame as the only target"
            )


def _critics(cfg: DictConfig, needs: Mapping[str, frozenset[str]]) -> Iterator[str]:
    for name in needs:
        term = find_target(cfg.loss.terms[name].term._target_, f"loss.terms.{name}.term")
        learns = isinstance(term, type) and issubclass(term, CriticTerm)
        if learns and cfg.trainer.accumulate_grad_batches != 1:
            yield (
                f"the loss term {name} trains a network of its own, one step before each of the "
                "model's, which parts of a batch would each need; set "
                "trainer.accumulate_grad_batches=1 (and a smaller data.global_batch or data.crop)"
            )


def _teacher(
    cfg: DictConfig,
    model: Interpolator,
    teacher: type[Interpolator],
    needs: Mapping[str, frozenset[str]],
) -> Iterator[str]:
    name = cfg.teacher.name or "model"
    if needs and not any("teacher" in need for need in needs.values()):
        yield (
            f"no loss term looks at the frames of teacher={name}; use loss=distillation, or drop "
            "the teacher"
        )
    if cfg.data.context < teacher.context:
        yield (
            f"teacher={name} reads {2 * teacher.context} frames but data.context="
            f"{cfg.data.context} gives {2 * cfg.data.context}; drop the data.context override"
        )
    if teacher.times == "half" and model.times != "half" and cfg.data.get("times") == "any":
        yield f"teacher={name} knows only t = 0.5; use data.times=fixed, or another teacher"
    # motion is no matter of data: a teacher makes it itself
    lacking = teacher.needs - {"motion"} - set(cfg.data.layout.get("gives") or ())
    if lacking:
        yield f"teacher={name} needs {', '.join(sorted(lacking))}, data={cfg.data.name} has none"
    if model.learns == "flow":
        yield (
            f"model={cfg.model.name} learns from flow, and teacher={name} gives frames; "
            "use teacher=none, or a teacher of flow"
        )
