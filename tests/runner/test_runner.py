"""The loop: what is called when, what a step computes, and what a run leaves behind."""

from __future__ import annotations

import json

import pytest
import torch

from knoll.hooks.hook import POINTS, Hook
from knoll.registry import HOOKS, UserError, load_config
from knoll.runner import Runner


@pytest.fixture
def spy():
    """A registered hook that writes down the points in the order in which they are called."""
    calls: list[str] = []

    def record(point):
        return lambda self, *_: calls.append(point)

    cls = type("Spy", (Hook,), {point: record(point) for point in POINTS})
    HOOKS.register_module(module=cls)
    yield calls
    del HOOKS.module_dict["Spy"]


def test_the_points_are_called_as_the_docstring_says(tiny, spy):
    tiny["hooks"]["spy"] = dict(type="Spy")
    Runner(tiny | dict(duration=6), "run").train()
    step = ["before_iter", "before_update", "after_update", "after_iter", "end_iter"]
    # 42 images are 10 batches of 4, so 4 updates of up to 3 batches an epoch; the 5th and 6th update are in the second.
    epoch_1 = ["before_epoch", *step * 4, "after_epoch"]
    epoch_2 = ["before_epoch", *step * 2, "after_epoch"]
    acted = [point for point in spy if point != "after_eval"]
    assert acted == ["setup", "before_run", *epoch_1, *epoch_2, "after_run"]
    assert spy.count("after_eval") == 2
    at = spy.index("after_eval")
    assert "end_iter" in spy[at:]  # evaluated before anything of that step is recorded


def test_after_run_is_called_after_an_error_too(tiny, spy, monkeypatch):
    tiny["hooks"]["spy"] = dict(type="Spy")
    runner = Runner(tiny, "run")
    monkeypatch.setattr(runner.update, "step", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        runner.train()
    assert spy[-1] == "after_run"


def test_it_learns_and_leaves_a_whole_run_behind(tiny, working_directory):
    tiny["hooks"] |= dict(
        tensorboard=dict(type="TensorBoard", every=2),
        json_log=dict(type="JSONLog", every=2),
        progress_bar=dict(type="ProgressBar"),
    )
    metrics = Runner(tiny | dict(duration="20ep"), "run").train()
    assert metrics["val/top1"] == 1.0
    run = working_directory / "run"
    for name in (
        "config.yaml",
        "log.txt",
        "log.jsonl",
        "environment.json",
        "checkpoints/last.pt",
        "checkpoints/best.pt",
    ):
        assert (run / name).is_file(), name
    assert load_config(run / "config.yaml").data["optimizer"] == tiny["optimizer"]
    assert (
        json.loads((run / "environment.json").read_text())["packages"]["torch"] == torch.__version__.partition("+")[0]
    )

    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    trained = [record for record in records if record["set"] == "train"]
    assert [record["step"] for record in trained] == list(range(2, 81, 2))
    assert all(record["data"] == "arrays" for record in records)
    assert "val: loss" in (run / "log.txt").read_text()
    assert len(list((run / "checkpoints").glob("step_*.pt"))) == 2


def test_the_best_checkpoint_is_kept_although_newer_ones_are_not_better(tiny, working_directory):
    runner = Runner(tiny | dict(duration="4ep"), "run")
    values = iter([0.5, 0.9, 0.7, 0.9])
    runner.evaluate = lambda: runner.metrics.update({"val/top1": next(values), "val/loss": 0.0}) or runner.metrics
    runner.train()
    best = torch.load(working_directory / "run/checkpoints/best.pt", weights_only=True)
    assert best["step"] == 8
    assert best["hooks"]["checkpoint"]["best_value"] == 0.9


def test_accumulated_gradients_equal_those_of_one_large_batch(tiny):
    """Exactly the mean over all images, although the last batch of the update is smaller."""
    tiny["model"]["head"]["dropout"] = 0.0
    runner = Runner(tiny, "run")
    batches = list(runner.train_loader.batches(0, 3))
    batches[2] = type(batches[2])(*(field[:1] for field in batches[2]))
    loss, _ = runner.update.backward(batches)
    accumulated = [parameter.grad.clone() for parameter in runner.model.parameters()]

    images, labels = (torch.cat([getattr(batch, field) for batch in batches]) for field in ("images", "labels"))
    runner.model.zero_grad()
    whole = torch.nn.functional.cross_entropy(runner.model(images), labels)
    whole.backward()
    assert loss.item() == pytest.approx(whole.item(), abs=1e-6)
    for got, parameter in zip(accumulated, runner.model.parameters(), strict=True):
        torch.testing.assert_close(got, parameter.grad, atol=1e-6, rtol=1e-5)


def test_gradients_are_clipped_to_their_norm(tiny):
    runner = Runner(tiny | dict(clip_norm=1e-3), "run")
    runner.update.backward(list(runner.train_loader.batches(0, 3)))
    runner.update.step()
    squares = sum(float((parameter.grad**2).sum()) for parameter in runner.model.parameters())
    assert squares**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_a_few_steps_equal_a_loop_written_by_hand(tiny):
    """The Runner adds nothing to the arithmetic: same weights to the bit as a plain PyTorch loop over its batches."""
    tiny["model"]["head"]["dropout"] = 0.0
    tiny |= dict(accumulate=1, clip_norm=None, duration=7)
    del tiny["hooks"]["lr_schedule"]
    by_hand = Runner(tiny, "unused")
    optimizer = torch.optim.SGD(by_hand.model.parameters(), lr=0.05, momentum=0.9, fused=True)
    for batch in by_hand.train_loader.batches(0, 7):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(by_hand.model(batch.images), batch.labels).backward()
        optimizer.step()
    runner = Runner(tiny, "run")
    runner.train()
    for name, value in by_hand.model.state_dict().items():
        assert torch.equal(value, runner.model.state_dict()[name]), name


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_step_in_low_precision_is_near_the_one_in_fp32(tiny, precision):
    tiny |= dict(accumulate=1, clip_norm=None, duration=1)
    tiny["model"]["head"]["dropout"] = 0.0
    weights = {}
    for name in ("fp32", precision):
        runner = Runner(tiny | dict(precision=name), f"run_{name}")
        before = {key: value.clone() for key, value in runner.model.state_dict().items()}
        runner.train()
        weights[name] = {key: value - before[key] for key, value in runner.model.state_dict().items()}
    for key, exact in weights["fp32"].items():
        torch.testing.assert_close(weights[precision][key], exact, atol=0.05 * float(exact.abs().max()), rtol=0.05)


def test_channels_last_and_compile_change_nothing_but_rounding(tiny):
    tiny |= dict(duration=2)
    tiny["model"]["head"]["dropout"] = 0.0
    losses = {}
    for name, options in {"plain": {}, "other": dict(memory_format="channels_last", compile=True)}.items():
        runner = Runner(tiny | options, f"run_{name}")
        runner.train()
        losses[name] = float(runner.loss)
        assert all(not key.startswith("_orig_mod") for key in runner.state_dict()["model"])
    assert losses["other"] == pytest.approx(losses["plain"], rel=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_runs_of_one_seed_are_equal_and_of_another_differ(tiny, working_directory, fingerprint, seed):
    for folder, own in (("a", seed), ("b", seed), ("c", seed + 1)):
        Runner(tiny | dict(seed=own), folder).train()
    prints = [fingerprint(working_directory / folder / "checkpoints/last.pt") for folder in "abc"]
    assert prints[0] == prints[1] != prints[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["model"]["head"].update(num_classes=5),
            "model.head.num_classes is 5, but the training data has 4",
        ),
        (lambda c: c["train"].update(batch_size=64), "42 images do not fill one batch of 64"),
        (lambda c: c["train"].update(transforms=[]), "the transforms leave a torch.uint8 tensor"),
        (lambda c: c["train"]["dataset"].update(path="gone.npz"), "there is no file gone.npz"),
        (lambda c: c["evaluation"]["val"]["dataset"].update(classes=list("abcd")), "other classes than train"),
        (lambda c: c["metrics"].update(top9=dict(type="Accuracy", top_k=9)), "top_k is 9, but there are 4 classes"),
        (lambda c: c["hooks"]["device_placement"].update(device="cuda:77"), "no device 'cuda:77' here"),
        (lambda c: c["evaluation"]["val"].update(transforms=[dict(type="ToImage")]), "leave a torch.uint8 tensor"),
        (
            lambda c: c["train"]["transforms"].insert(0, dict(type="RandomCrop", size=64)),
            "the transforms fail on sample",
        ),
        (lambda c: c.update(loss=dict(type="MSELoss")), "the loss MSELoss does not take logits (5, 4) and labels (5,)"),
        (lambda c: c["loss"].update(reduction="none"), "set reduction='mean'"),
        (lambda c: c["loss"].update(weight=[1.0, 2.0, 3.0]), "the loss CrossEntropyLoss does not take"),
        (
            lambda c: c["metrics"].update(matrix=dict(type="torchmetrics/MulticlassConfusionMatrix")),
            "the metric matrix (torchmetrics/MulticlassConfusionMatrix) cannot be reported as one number",
        ),
        (lambda c: c["optimizer"].update(lr=-0.1), "optimizer SGD cannot be built: ValueError: Invalid learning rate"),
    ],
)
@pytest.mark.filterwarnings("ignore:Using a target size:UserWarning")
def test_what_does_not_fit_is_said_before_the_run_begins(tiny, working_directory, change, message):
    change(tiny)
    with pytest.raises(UserError) as error:
        Runner(tiny, "run")
    assert message in str(error.value)
    assert not (working_directory / "run").exists()


def test_a_file_in_place_of_the_run_folder_is_refused(tiny, working_directory):
    (working_directory / "run").write_text("")
    with pytest.raises(UserError, match="is a file"):
        Runner(tiny, "run/inside")


def test_images_that_the_model_cannot_take_are_said_before_the_run(tiny):
    tiny["model"]["backbone"] = dict(type="ResNet", depth=18)
    with pytest.raises(UserError, match=r"fails on one image of train, of the shape \(1, 1, 28, 28\).*channels"):
        Runner(tiny, "run")


def test_a_duration_of_nothing_is_refused(tiny):
    with pytest.raises(UserError, match="less than one step"):
        Runner(tiny | dict(duration="0.01ep"), "run")
    with pytest.raises(UserError, match="at least 1 step"):
        Runner(tiny | dict(duration=0), "run")


def test_a_share_of_itself_is_no_duration(tiny):
    with pytest.raises(UserError, match="cannot be a share of itself"):
        Runner(tiny | dict(duration="50%"), "run")


def test_two_runs_that_start_in_the_same_second_have_folders_of_their_own(tiny, monkeypatch):
    monkeypatch.setattr("time.strftime", lambda *_: "20260101-000000")
    runners = [Runner(tiny | dict(duration=1)) for _ in range(2)]
    for runner in runners:
        runner.train()
    assert [str(runner.work_dir) for runner in runners] == [
        "runs/experiment/20260101-000000",
        "runs/experiment/20260101-000000-2",
    ]


def test_training_is_named_by_its_own_data_whatever_else_is_evaluated(tiny, working_directory):
    tiny["evaluation"]["other"] = dict(tiny["evaluation"]["val"])
    tiny["evaluation"]["other"]["dataset"] = dict(type="ArrayFile", path="arrays.npz", source="elsewhere")
    assert Runner(tiny, "run").sources == dict(train="arrays", val="arrays", other="elsewhere")


def test_a_failing_hook_does_not_keep_the_others_from_ending(tiny, spy):
    class Fails(Hook):
        def after_run(self, runner):
            raise RuntimeError("at the end")

    HOOKS.register_module(module=Fails)
    tiny["hooks"] = dict(fails=dict(type="Fails"), spy=dict(type="Spy"))
    try:
        with pytest.raises(RuntimeError, match="at the end"):
            Runner(tiny | dict(duration=1), "run").train()
    finally:
        del HOOKS.module_dict["Fails"]
    assert spy[-1] == "after_run"
