"""Every model's own training reaches all its weights: several devices wait for each gradient."""

from __future__ import annotations

import pytest

from midframe.engine.build import build_data, build_module, plain
from midframe.engine.compose import compose
from midframe.launch.check import reads_labels
from midframe.models import zoo
from midframe.paths import config_files

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", config_files("model"))
def test_no_weight_that_is_trained_goes_without_a_gradient(name: str) -> None:
    words = [f"model={name}", "data=synthetic", "data.workers=0", "data.global_batch=1"]
    model = zoo.check_config(plain(compose(words).model))
    if not model.trainable:
        pytest.skip("nothing to train")
    if "events" in model.needs:
        words[1] = "data=events_synthetic"
    step = zoo.build_empty(plain(compose(words).model)).padding().multiple
    size = -(-64 // step) * step
    cfg = compose([*words, f"data.crop={size}", f"data.layout.size={size}"])
    module = build_module(cfg)
    loader = build_data(cfg, needs_labels=reads_labels(cfg)).train_loader(steps=1)
    batch = module.enrich(next(iter(loader)).float())
    pred = module.model(batch.inputs, **module.model.fixed_hints)
    module.loss(pred, batch, module.model, 0).total.backward()
    weights = {key: p for key, p in module.model.named_parameters() if p.requires_grad}
    assert weights and [key for key, p in weights.items() if p.grad is None] == []
