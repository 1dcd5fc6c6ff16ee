"""The first of several data sets that is there, and the same one throughout a run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from ...registry import DATASETS, UnavailableError
from .combine import declared_source, name_source

logger = logging.getLogger("knoll")

# Of which source FirstAvailable took the data, by its list of candidates.
Choices = dict[str, str]
_choices: ContextVar[Choices | None] = ContextVar("choices", default=None)


@contextmanager
def same_choices(choices: Choices) -> Iterator[None]:
    """Within it, wherever FirstAvailable stands in a config, of the same candidates it takes the same source.

    Args:
        choices: those made before; what is chosen within is added.
    """
    token = _choices.set(choices)
    try:
        yield
    finally:
        _choices.reset(token)


@DATASETS.register_module()
def FirstAvailable(datasets: list[dict], split: str | None = None, insist: str | None = None) -> Any:
    """The first data set of a list that is there; which one, and why not those before it, is said in one line.

    A run takes it from one source throughout: see `same_choices`.

    Args:
        datasets: configs in order of preference.
        split: given to each of them.
        insist: only a data set of this source will do: the one that a run was trained on.

    Returns:
        That data set itself.

    Raises:
        UnavailableError: none of them is there.
    """
    choices = _choices.get()
    choices = {} if choices is None else choices
    candidates = json.dumps(datasets, sort_keys=True, default=str)
    insist = insist or choices.get(candidates)
    reasons = []
    for candidate in datasets:
        known = declared_source(candidate)
        if insist is not None and known not in (None, insist):
            continue
        try:
            dataset = DATASETS.build(candidate if split is None else {**candidate, "split": split})
        except UnavailableError as error:
            reasons.append(f"{candidate['type']}: {error}")
            continue
        source = name_source(dataset, candidate)
        if insist is not None and source != insist:
            continue
        why = f" (not available: {'; '.join(reasons)})" if reasons else ""
        logger.info("%s data: %s%s", split or "", source, why)
        choices[candidates] = source
        return dataset
    if insist is not None:
        reasons.append(f"only {insist} will do, for the run uses them elsewhere; change the config to use others")
    raise UnavailableError("no data set is available: " + "; ".join(reasons))
