"""What every file of conf/data has to keep, in the package and in projects (MIDFRAME_PROJECT).

A layout is read where there is something to read: where its module has `write_example(root)`, which
writes a small folder of its form, or `fakes.WRITERS` knows one.
"""

from __future__ import annotations

import inspect
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import fakes
import numpy as np
import pytest
import torch
from hydra.utils import get_method, instantiate
from omegaconf import DictConfig, OmegaConf

from midframe.data.dataset import ClipDataset
from midframe.data.flow_files import write_flow
from midframe.data.labels import label_path
from midframe.data.module import Data
from midframe.data.pack import pack_clips
from midframe.data.records import Clip, Ticket, check_clips
from midframe.engine.compose import compose
from midframe.errors import UserError
from midframe.paths import config_files

SMALL = ["data.workers=0", "data.crop=16", "data.global_batch=2", "data.on_error=skip"]
FEW = 4  # clips that are read
REFUSED = "input frames and the model takes"
MOST = 1000  # bytes of a pickled source: with more it would carry its picture along


class Case(NamedTuple):
    """A data set by its file, and its function."""

    name: str
    node: DictConfig
    function: Callable[..., Sequence[Clip]]

    @property
    def needs_folder(self) -> bool:
        return self.node.root is not None

    @property
    def options(self) -> dict[str, object]:
        given = OmegaConf.to_container(self.node.layout, resolve=True)
        return {k: v for k, v in given.items() if k not in ("_target_", "_partial_")}


@pytest.fixture(scope="module", params=config_files("data"))
def case(request, tmp_path_factory) -> Case:
    name = request.param
    place = tmp_path_factory.mktemp(name)
    overrides = [f"data={name}", f"paths.data={place}", *SMALL]
    node = compose(overrides).data
    if OmegaConf.is_missing(node, "root"):
        node.root = str(place / "root")
    return Case(name, node, get_method(node.layout._target_))


@pytest.fixture(scope="module")
def filled(case) -> Case:
    """The data set with something in its folder."""
    if case.needs_folder:
        module = sys.modules[case.function.__module__]
        write = fakes.WRITERS.get(case.name) or getattr(module, "write_example", None)
        if write is None:
            pytest.skip(f"write_example(root) in {module.__name__} would have it read")
        write(Path(case.node.root))
    return case


@pytest.fixture(scope="module", params=[1, 2], ids=["two frames", "four frames"])
def data(filled, request) -> Data:
    """The data set as models of two and of four frames read it, where it serves them."""
    found = instantiate(filled.node, context=request.param)
    try:
        found.clips(found.split)
    except UserError as error:
        if "midframe.data" in filled.node.layout._target_ and REFUSED not in str(error):
            raise
        pytest.skip(str(error))  # a layout of one's own may say it in any words
    return found


def _anew(data: Data, **options: object) -> Data:
    options = {"context": data.context, "split": data.split, "val": vars(data.val), **options}
    return Data(data.name, data.layout, data.root, workers=0, **options)


def _sources(clip: Clip) -> list[object]:
    flow = (one for pair in clip.flow.values() for one in pair)
    return [*clip.frames, *flow, *clip.events.values()]


def test_its_file_names_itself_and_every_option_is_taken(case):
    given = OmegaConf.to_container(case.node, resolve=True)
    assert given["name"] == case.name
    assert isinstance(instantiate(case.node), Data)


def test_its_function_takes_root_split_context_and_documented_options(case):
    first, second, third, *rest = inspect.signature(case.function).parameters.values()
    assert (first.name, second.name, third.name) == ("root", "split", "context")
    assert all(one.kind is one.KEYWORD_ONLY for one in rest), "options follow a *"
    assert set(case.options) <= {one.name for one in rest}, "conf/data gives an option too many"
    required = {one.name for one in rest if one.default is one.empty}
    assert required <= set(case.options), "an option without default stands in conf/data"
    lines = (inspect.getdoc(case.function) or "").splitlines()
    for name in ("root", "split", "context", *(one.name for one in rest)):
        said = any(line.strip().startswith(f"{name}:") for line in lines)
        assert said, f"its docstring has no line `{name}: ...`"


@pytest.mark.parametrize("root", ["nowhere", None])
def test_a_folder_that_is_not_there_is_told_with_what_it_should_hold(case, tmp_path, root):
    if not case.needs_folder or case.name in fakes.FILL_THEIR_FOLDER:
        pytest.skip("needs no folder")
    layout = instantiate(case.node.layout)
    with pytest.raises(UserError) as error:
        layout(None if root is None else tmp_path / root, case.node.split, 1)
    first, *tree = str(error.value).splitlines()
    assert (root or "data.root") in first and "data.root" in str(error.value)
    assert tree, "show the folder that is expected"


def test_an_unknown_split_names_the_known(case, data):
    with pytest.raises(UserError) as error:
        data.layout(data.root, "no-such-split", 1)
    assert case.node.split in str(error.value) and case.node.val.split in str(error.value)


def test_training_and_validation_share_no_shot(data):
    train, val = data.clips(data.split), data.clips(data.val.split)
    assert len(train) and len(val)
    groups = [{clip.group or clip.id for clip in clips[:1000]} for clips in (train, val)]
    assert not groups[0] & groups[1]


def test_some_context_is_served_by_the_rules(filled):
    served = 0
    for context in (1, 2):
        data = instantiate(filled.node, context=context)
        try:
            clips = data.layout(data.root, data.split, context)
        except UserError:
            continue
        check_clips(clips, context, data.name)
        served += 1
    assert served


def test_clips_are_small_hashable_and_the_same_every_time(data):
    clips = data.clips(data.split)[:FEW]
    again = _anew(data).clips(data.split)[:FEW]
    assert list(clips) == list(again)
    sources = {source for clip in clips for source in _sources(clip)}
    assert sources == {source for clip in again for source in _sources(clip)}
    assert len(pickle.dumps(clips)) < MOST * len(sources)
    assert pickle.loads(pickle.dumps(clips)) == clips


def test_samples_hold_what_the_sources_read(data):
    clips = data.clips(data.val.split)[:FEW]
    whole = ClipDataset(clips, data.val_context)
    for index, clip in enumerate(clips):
        sample, size = whole[index], clip.frames[0].size()
        assert sample.size == size and sample.frames.dtype == np.uint8
        for picture, frame in zip(sample.frames, clip.inputs, strict=True):
            assert picture.shape == (*size, 3)
            np.testing.assert_array_equal(picture, clip.frames[frame].read())
        np.testing.assert_allclose(sample.t, [clip.time(i) for i in clip.targets])
        for counts, frame in zip([] if sample.events is None else sample.events, clip.targets):
            assert counts.dtype == np.int8 and counts.shape[:2] == size
            np.testing.assert_array_equal(counts, clip.events[frame].read())


def test_batches_come_out_of_both_loaders(case, data):
    batch = next(iter(data.train_loader(steps=1)))
    assert batch.inputs.frames.shape == (2, 2 * data.context, 3, 16, 16)
    assert batch.target.shape == (2, batch.inputs.t.shape[1], 3, 16, 16)
    assert batch.meta.dataset == case.name
    some = {"batch": 1, "crop": 16, "limit": 2}
    val = _anew(data, val={"split": data.val.split, "context": data.val.context, **some})
    (first, *_) = val.val_loader()
    assert first.inputs.frames.shape == (1, 2 * data.val_context, 3, 16, 16)
    for one in (batch, first):
        if one.inputs.events is not None:
            assert one.inputs.events.shape[:2] == one.target.shape[:2]
            assert one.inputs.events.shape[3:] == (16, 16) and one.inputs.events.dtype == torch.int8
    assert case.name in data.describe()


def test_a_pack_gives_the_same_samples(data, tmp_path):
    splits = {s: data.clips(s)[:FEW] for s in (data.split, data.val.split)}
    if any(clip.events for clips in splits.values() for clip in clips):
        with pytest.raises(UserError, match="has events, which a pack does not hold"):
            pack_clips(splits, tmp_path / "pack", context=data.context)
        assert not (tmp_path / "pack").exists()
        return
    pack_clips(splits, tmp_path / "pack", context=data.context, name=data.name, root=data.root)
    packed = Data(data.name, data.layout, tmp_path / "pack", context=data.context)
    one = ClipDataset(splits[data.split], data.context, augment=data.augment)
    other = ClipDataset(packed.clips(data.split), data.context, augment=data.augment)
    assert len(one) == len(other)
    for index in range(len(one)):
        a, b = one[Ticket(3, index)], other[Ticket(3, index)]
        assert (a.id, a.group, a.size) == (b.id, b.group, b.size)
        np.testing.assert_array_equal(a.frames, b.frames)
        np.testing.assert_array_equal(a.target, b.target)
        assert (a.flow is None) == (b.flow is None)
        if a.flow is not None:
            np.testing.assert_allclose(a.flow, b.flow, atol=1 / 64)


def test_labels_written_beside_it_are_found(data):
    """As `midframe labels` writes them: into <root>/flow, whatever the data set."""
    clips = data.clips(data.split)
    if data.root is None or any(clip.flow for clip in clips[:FEW]):
        pytest.skip("has no folder, or labels of its own")
    clip = clips[0]
    for target in clip.targets:
        for side, end in enumerate(clip.ends):
            flow = np.full((*clip.frames[0].size(), 2), end - target, np.float32)
            write_flow(label_path(data.root / "flow", clip, target, side), flow)
    try:
        found = _anew(data).clips(data.split)
        assert set(found[0].flow) == set(clip.targets)
        assert found[0].flow[clip.targets[0]][1].read().max() == clip.ends[1] - clip.targets[0]
    finally:
        shutil.rmtree(data.root / "flow")  # other tests read the same folder
