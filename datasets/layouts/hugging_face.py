"""Data sets in HuggingFace's format, from its hub, a folder of files, or a folder that `save_to_disk` wrote."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

from ...registry import DATASETS, UnavailableError, UserError
from ...registry.discover import PACKAGE_ROOT
from ...registry.names import did_you_mean
from ..base import EncodedImages
from .class_numbers import class_numbers


@DATASETS.register_module()
class HuggingFace(EncodedImages):
    """One split of a data set that the package `datasets` reads: `pip install "knoll[hf]"`.

    No code of a data set's own is run. Images are decoded by Knoll, not by that package.

    Args:
        path: what `datasets.load_dataset` takes first: a name on the hub, "imagefolder", "parquet", ...; or a folder
            that `save_to_disk` wrote.
        name: of a configuration of the data set.
        split: which one; slices as `datasets` writes them go too ("train[:80%]"). None for a folder that holds a data
            set without splits.
        data_dir: the folder with the files, for "imagefolder" and the like.
        data_files: the files, for "parquet" and the like.
        revision: of a data set on the hub: the commit to read, so that a run can be repeated.
        image: the column with the images, or with their bytes.
        label: the column with the labels: names of classes, or their numbers.
        classes: names of the classes in order; by default the data set's own, or the names in alphabetical order.
        source: in words, where the images come from; the path by default.

    Raises:
        UnavailableError: the package or the data set is not there.
        UserError: there is no such split or column, one of another kind, or a label that is not among `classes`.
    """

    def __init__(
        self,
        path: str,
        name: str | None = None,
        split: str | None = "train",
        data_dir: str | None = None,
        data_files: str | list[str] | None = None,
        revision: str | None = None,
        image: str = "image",
        label: str = "label",
        classes: list[str] | None = None,
        source: str | None = None,
    ) -> None:
        library = _import_library()
        if path == "pandas":
            raise UserError('HuggingFace: "pandas" reads pickles, which can run any code: save the data as parquet')
        try:
            if _written_by_save_to_disk(path):
                dataset = _saved_split(library.load_from_disk(path), path, split)
            else:
                options = dict(data_dir=data_dir, data_files=data_files, revision=revision)
                dataset = library.load_dataset(path, name, split=split or "train", **options)
        except (OSError, RuntimeError, library.exceptions.DatasetsError) as error:
            raise UnavailableError(f"the data set {path} could not be loaded: {error}") from error
        except ValueError as error:
            raise UserError(f"the data set {path} could not be loaded: {error}") from error
        self._split = split or ""
        self._path = path
        self.source = source or path
        for column, key in ((image, "image"), (label, "label")):
            if column not in dataset.column_names:
                near = did_you_mean(column, dataset.column_names)
                raise UserError(f"{path} has no column {column!r}: set `{key}`.{near}")
        self._image = image
        self._images = _as_bytes(library, dataset.select_columns([image]), image, path)
        self.labels, self.classes = _labels(library, dataset, label, classes, self.place)

    def encoded(self, index: int) -> bytes:
        value = self._images[index][self._image]
        if isinstance(value, dict):
            value = value["bytes"] if value["bytes"] is not None else _read(value["path"], self.place(index))
        if value is None:
            raise UserError(f"{self.place(index)} has no image")
        return value

    def name(self, index: int) -> str:
        return f"{self._split}/{index:05d}"

    def place(self, index: int) -> str:
        return f"{self._path}, split {self._split or 'none'}, row {index}"


def _import_library() -> Any:
    """The package `datasets`."""
    found = importlib.util.find_spec("datasets")
    if found is None:
        raise UnavailableError('HuggingFace data sets need the package `datasets`: pip install "knoll[hf]"')
    if Path(found.origin or "").resolve().is_relative_to(PACKAGE_ROOT / "datasets"):
        raise UnavailableError(
            f"Python was started in {PACKAGE_ROOT}, whose folder `datasets` hides the package of that name: start it "
            "elsewhere, or use the command `knoll`"
        )
    return importlib.import_module("datasets")


def _written_by_save_to_disk(path: str) -> bool:
    return any(Path(path, name).is_file() for name in ("state.json", "dataset_dict.json"))


def _saved_split(saved: Any, path: str, split: str | None) -> Any:
    if not isinstance(saved, dict):
        if split is not None and str(saved.split) != split:
            own = f"is the split {str(saved.split)!r}" if saved.split else "has no splits: set split=None"
            raise UserError(f"{path} {own}, and not {split!r}")
        return saved
    if split not in saved:
        raise UserError(f"{path} has no split {split!r}.{did_you_mean(str(split), saved)}")
    return saved[split]


def _as_bytes(library: Any, dataset: Any, column: str, path: str) -> Any:
    """The column of images, as they lie in their files."""
    kind = dataset.features[column]
    if isinstance(kind, library.Image):
        return dataset.cast_column(column, library.Image(decode=False))
    if getattr(kind, "dtype", None) in ("binary", "large_binary"):
        return dataset
    raise UserError(f"{path}: the column {column!r} holds {kind}; expected images, or the bytes of their files")


def _labels(
    library: Any, dataset: Any, column: str, classes: list[str] | None, place: Any
) -> tuple[list[int], list[str]]:
    kind, values = dataset.features[column], list(dataset[column])
    wrong = next((i for i, value in enumerate(values) if type(value) not in (int, str)), None)
    if wrong is not None:
        raise UserError(f"{place(wrong)}: {column!r} is {values[wrong]!r}; expected the name of a class, or its number")
    if not isinstance(kind, library.ClassLabel):
        return class_numbers([str(value) for value in values], classes, place)
    outside = next((i for i, value in enumerate(values) if not 0 <= value < len(kind.names)), None)
    if outside is not None:  # -1 is how `datasets` marks what has no label
        raise UserError(f"{place(outside)}: the label is {values[outside]}; classes are 0 to {len(kind.names) - 1}")
    if classes is None:
        return values, list(kind.names)
    return class_numbers([kind.names[value] for value in values], classes, place)


def _read(file: str, place: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise UserError(f"{place}: {file} cannot be read: {error.strerror}") from error
