"""The keys of a config: what an experiment is made of. `check` holds every config against these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from .duration import Duration, RunLength
from .fit import AtLeast, AtMost
from .signature import bind, parameters, settings_class, settings_class_of_items

Settings = TypeVar("Settings")

Count = Annotated[int, AtLeast(1)]


@dataclass
class TrainData:
    """The images that are trained on, and how they are read.

    Args:
        dataset: from DATASETS.
        transforms: a list from TRANSFORMS, applied in order; the last one leaves a float tensor (C, H, W).
        batch_size: images in one forward pass, of each process. One optimizer step sees `accumulate` times as many,
            times the number of processes.
        sampler: from SAMPLERS: the order of an epoch. Default: every image once, shuffled anew each epoch.
        drop_last: leave out the images at an epoch's end that do not fill a batch.
        num_workers: processes that read ahead; 0 reads in the training process. Results do not depend on it.
        start_method: how those are started; by default as Python does on this system.
        unreadable: an image that cannot be read ends the run, or is left out, counted and named. An evaluation always
            ends, for a figure without some images is no figure of the set.
        packed: a file that `tools/data.py pack` made of the data set: it is read instead.
    """

    dataset: dict
    transforms: list = field(default_factory=list)
    batch_size: Count = 32
    sampler: dict = field(default_factory=lambda: dict(type="Shuffled"))
    drop_last: bool = True
    num_workers: Annotated[int, AtLeast(0)] = 0
    start_method: Literal["fork", "spawn", "forkserver"] | None = None
    unreadable: Literal["error", "skip"] = "error"
    packed: str | None = None


@dataclass
class EvaluationData:
    """A set that is evaluated: every image once, in order. Other fields as in TrainData.

    Args:
        views: test-time augmentation: a list from TRANSFORMS, each applied on its own to the finished batch
            (N, C, H, W); the mean of the probabilities is measured. One forward pass for each.
    """

    dataset: dict
    transforms: list = field(default_factory=list)
    batch_size: Count = 64
    num_workers: Annotated[int, AtLeast(0)] = 0
    start_method: Literal["fork", "spawn", "forkserver"] | None = None
    packed: str | None = None
    views: list = field(default_factory=list)


@dataclass
class Weights:
    """What the model begins with, and how far it must fit.

    Args:
        source: a file; an https address; `torchvision/ResNet34_Weights.IMAGENET1K_V1`, `timm/resnet34.a1_in1k`: names
            of those libraries' weights. What is fetched is kept in their own folders.
        sha256: what the file's SHA-256 must be, or begin with.
        entry: the key that the weights stand under in the file, if it is none of the usual.
        rename: beginnings of names in the file, and what to put in their place: {"linear.": "head.fc."}.
        drop: names in the file, as shell patterns, to leave out.
        least: the share that must fit, heads aside: of the model's tensors those that the file fills, and of the file's
            those that have a place in the model.
    """

    source: str
    sha256: str | None = None
    entry: str | None = None
    rename: dict[str, str] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    least: Annotated[float, AtLeast(0), AtMost(1)] = 0.9


@dataclass
class ParamGroup:
    """How the parameters under a pattern are trained.

    Args:
        lr_scale: times the optimizer's learning rate.
        weight_decay: in place of the optimizer's.
    """

    lr_scale: Annotated[float, AtLeast(0)] = 1.0
    weight_decay: Annotated[float, AtLeast(0)] | None = None


@dataclass
class ParamGroups:
    """Learning rates and weight decays of the parts of a model; what nothing names is trained as the optimizer says.

    Args:
        patterns: shell patterns, as in `freeze`. Of several that cover a parameter the last one counts, and it alone.
        layer_decay: each layer learns at this share of the rate of the layer above it, the last one at the full rate.
            Multiplied with the `lr_scale` of a pattern.
        decay_norms_and_biases: False leaves out of weight decay, whatever a pattern says, every parameter with fewer
            than two dimensions, and those that the model's or its backbone's `no_weight_decay()` names.
    """

    patterns: dict[str, ParamGroup] = field(default_factory=dict)
    layer_decay: Annotated[float, AtLeast(0), AtMost(1)] | None = None
    decay_norms_and_biases: bool = True


@dataclass
class Experiment:
    """The top-level keys of a config.

    Args:
        model: from MODELS: images (N, C, H, W) in, logits (N, classes) out.
        loss: from LOSSES.
        optimizer: from OPTIMIZERS.
        train: what is trained on.
        weights: what the model begins with: a file or another source, or all settings of `Weights`. A run that
            resumes begins with its checkpoint.
        duration: how long: "15ep", or steps.
        evaluation: sets to evaluate, by name; their metrics are called `name/metric`, for example `val/top1`.
        metrics: from METRICS, by name; measured on every evaluation set, which also reports its `loss`.
        hooks: from HOOKS, by name.
        freeze: shell patterns of the modules and parameters that are not trained: `["backbone.layer*", "*.bn1"]`, each
            with all below it. A dict says until when: `{"backbone": "3ep"}`; of several patterns that cover a parameter
            the last one counts. What is frozen stays in evaluation mode too.
        param_groups: learning rates and weight decays of the parts of the model.
        seed: all randomness of a run follows from it.
        accumulate: batches whose gradients add up to one optimizer step.
        base_batch: for how many images in a step the learning rates are, of the optimizer and of the schedule. Where
            a step has another number, batch_size x accumulate x processes, `lr_scaling` must say what follows.
        lr_scaling: rates grow with the number of images in a step, or with its square root.
        clip_norm: the gradient's largest norm; longer gradients are scaled down to it. At most one `clip_...` is set.
        clip_value: the largest absolute value in a gradient.
        clip_agc: the largest norm of a unit's gradient, as a share of that of its weights (adaptive gradient clipping).
        stop_at_nan: stop before a loss or a gradient that is not finite changes the weights, and name the images.
        precision: the forward pass in fp32, or under autocast in bf16 or fp16 (fp16 with loss scaling). Here and in the
            next two "auto" takes what is fast on the device at hand, and says what; a resumed run keeps it. It is not
            the default: a config's figures are then those of the machine as well. See docs/speed.md.
        compile: run the model through torch.compile; or in which of its modes. "aot_eager" traces the model and
            generates no code: to see whether it can be compiled.
        memory_format: of images and weights in memory: "contiguous" (N, C, H, W) or "channels_last" (N, H, W, C).
        tf32: on CUDA, fp32 matrices and convolutions are multiplied in TF32 (10 bits of mantissa), as torch does with
            convolutions by itself. It holds for the whole process.
        keep_freed_memory: on a CPU under Linux, what a step frees is kept for the next one, in the whole process.
        parallel: how several processes train: "ddp", each with all weights; "fsdp", each with a part of every weight,
            of its gradient and of the optimizer's state.
        sync_batchnorm: of several processes on CUDA, normalise batches by the images of all of them.
        imports: modules to import first, for what they register.
        plugins: folders whose Python files are imported first, for what they register.
    """

    model: dict
    loss: dict
    optimizer: dict
    train: TrainData
    duration: RunLength
    weights: str | Weights | None = None
    evaluation: dict[str, EvaluationData] = field(default_factory=dict)
    metrics: dict = field(default_factory=dict)
    hooks: dict = field(default_factory=dict)
    freeze: list[str] | dict[str, Duration] = field(default_factory=list)
    param_groups: ParamGroups | None = None
    seed: Annotated[int, AtLeast(0)] = 0
    accumulate: Count = 1
    base_batch: Count | None = None
    lr_scaling: Literal["linear", "sqrt"] | None = None
    clip_norm: Annotated[float, AtLeast(1e-9)] | None = None
    clip_value: Annotated[float, AtLeast(1e-9)] | None = None
    clip_agc: Annotated[float, AtLeast(1e-9)] | None = None
    stop_at_nan: bool = True
    precision: Literal["fp32", "bf16", "fp16", "auto"] = "fp32"
    compile: bool | Literal["auto", "default", "reduce-overhead", "max-autotune", "aot_eager"] = False
    memory_format: Literal["contiguous", "channels_last", "auto"] = "contiguous"
    tf32: bool = True
    keep_freed_memory: bool = True
    parallel: Literal["ddp", "fsdp"] = "ddp"
    sync_batchnorm: bool = False
    imports: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)

    # Keys that are gone: what to write now.
    former_keys: ClassVar[dict[str, str]] = dict(
        channels_last="write memory_format='channels_last' where it was True, and leave it out where it was False."
    )

    # Keys that other frameworks have: what is written here.
    other_words: ClassVar[dict[str, str]] = dict(
        **dict.fromkeys(("epochs", "max_epochs", "num_epochs"), "duration='5ep'"), learning_rate="optimizer.lr"
    )


def in_todays_keys(config: dict[str, Any]) -> dict[str, Any]:
    """A config that an earlier version has saved: it cannot be written anew by hand."""
    kept = {key: value for key, value in config.items() if key != "channels_last"}
    return {"memory_format": "channels_last", **kept} if config.get("channels_last") is True else kept


def make_experiment(data: Mapping) -> Experiment:
    """The Experiment of a config that has passed the check."""
    experiment = _make(Experiment, data)
    if isinstance(experiment.weights, str):
        experiment.weights = Weights(experiment.weights)
    return experiment


def _make(kind: type[Settings], data: Mapping) -> Settings:
    """A dataclass from its fields, and from theirs those that are dataclasses too."""
    fields, _ = bind(kind, data)
    for name, annotation in parameters(kind).annotations.items():
        value: Any = fields.get(name)
        if not isinstance(value, dict):
            continue
        if own := settings_class(annotation):
            fields[name] = _make(own, value)
        elif own := settings_class_of_items(annotation):
            fields[name] = {key: _make(own, item) for key, item in value.items()}
    return kind(**fields)
