"""The images that a loss or a gradient that is not finite came from: named, and kept to be looked at."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...datasets.base import name_of
from ...datasets.loading.randomness import untouched_random_state
from ...registry import UserError
from ..data_report.labels import label_in_words
from ..data_report.samples import as_picture
from ..inference.picture_grid import Cell, draw_grid, writable_names
from ..saving.whole_file import written_whole

if TYPE_CHECKING:
    from ..runner import Runner

MOST = 64  # pictures on a sheet


class Suspects:
    """The batches of a step whose loss is not finite.

    Args:
        batches: their numbers in the step.
    """

    def __init__(self, runner: Runner, batches: Sequence[int]) -> None:
        chosen = [runner.batches[number] for number in batches]
        self.step = runner.step + 1
        self.process = f"-process_{runner.world.rank}" if runner.world.rank else ""
        self.batches = len(chosen)
        self.transforms = runner.experiment.train.transforms
        self.classes = runner.classes
        self.images = [image.cpu() for batch in chosen for image in batch.images]  # batches may differ in size
        self.labels, self.indices = (torch.cat([batch[part] for batch in chosen]).cpu() for part in (1, 2))
        self.logits = torch.cat([runner.logits[number] for number in batches]).cpu()
        self.names = [name_of(runner.train_loader.dataset, index) for index in self.indices.tolist()]
        self.losses = self._losses(runner)

    def _losses(self, runner: Runner) -> Tensor | None:
        """The loss of each image alone (N,), if the loss can tell it."""
        loss = copy.deepcopy(runner.loss_function).cpu()
        try:
            with torch.no_grad(), untouched_random_state():
                pairs = zip(self.logits.split(1), self.labels.split(1), strict=True)
                return torch.stack([loss(logits, labels).float() for logits, labels in pairs])
        except Exception:  # a loss can be anyone's, and need more than one image
            return None

    def in_words(self) -> list[str]:
        """The names of the images: of those whose numbers tell them from the others, and of all."""
        lines = []
        for said, values in (("images", self.images), ("logits", self.logits), ("losses", self.losses)):
            bad = _not_finite(values) if values is not None else torch.zeros(len(self.names), dtype=torch.bool)
            if bad.any() and not bad.all():
                lines.append(f"Their {said} are not finite: {self._named(bad)}")
        which = "that batch" if self.batches == 1 else "those batches"
        return [*lines, f"All images of {which}: {', '.join(self.names)}"]

    def _named(self, chosen: Tensor) -> str:
        return ", ".join(name for name, is_chosen in zip(self.names, chosen.tolist(), strict=True) if is_chosen)

    def save(self, work_dir: Path) -> str:
        """Keep the batches in `not_finite/step_<step>`: `batch.pt`, for torch.load(weights_only=True), and
        `images.png`, if they are pictures. Returns a line that says where, or why not."""
        folder = work_dir / "not_finite" / f"step_{self.step:08d}{self.process}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with written_whole(folder / "batch.pt") as partial:
                torch.save(self.state(), partial)
            if drawn := self._cells():
                font, _ = writable_names([text for cell in drawn for text in (cell.predicted, cell.truth)])
                with written_whole(folder / "images.png") as partial:
                    draw_grid(drawn, font).save(partial)
        except (OSError, RuntimeError) as error:  # a full disk shall not hide what this is about
            return f"They could not be kept in {folder}: {error}"
        return f"They are kept in {folder}"

    def state(self) -> dict[str, object]:
        """Plain types and tensors, each with a row for every image."""
        same = len({image.shape for image in self.images}) == 1
        images = torch.stack(self.images) if same else self.images
        keys = ("step", "labels", "indices", "names", "logits", "losses")
        return {"images": images, **{key: getattr(self, key) for key in keys}}

    def _cells(self) -> list[Cell]:
        """Those that are not finite first, in red; numbers that are none are shown as zeros."""
        bad = _not_finite(self.images) | _not_finite(self.logits)
        if self.losses is not None:
            bad |= _not_finite(self.losses)
        order = sorted(range(len(self.names)), key=lambda number: not bad[number])[:MOST]
        try:
            return [self._cell(number, bool(bad[number])) for number in order]
        except UserError:  # rows of a table, or images of many channels
            return []

    def _cell(self, number: int, wrong: bool) -> Cell:
        if self.images[number].ndim != 3:
            raise UserError("these are no pictures")
        picture = as_picture(self.images[number].nan_to_num(0, 0, 0), self.transforms)
        label = label_in_words(self.labels[number].numpy(), self.classes)
        missing = self.images[number].numel() - int(self.images[number].isfinite().sum())
        told = [label, f"{missing} numbers" if missing else "", self._loss_of(number)]
        return Cell(picture, self.names[number], ", ".join(filter(None, told)), wrong)

    def _loss_of(self, number: int) -> str:
        if self.losses is None:
            return ""
        value = float(self.losses[number])
        return f"loss {value:.3g}" if math.isfinite(value) else f"loss {value}"


def _not_finite(values: Iterable[Tensor]) -> Tensor:
    """Which of N tensors, or rows of one, have a number that is not finite (N,)."""
    return torch.tensor([not bool(each.isfinite().all()) for each in values])
