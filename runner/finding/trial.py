"""A trial: a few steps of an experiment for the figures they give, of which nothing is kept."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...hooks.evaluation import Evaluation
from ...hooks.hook import Hook, Hooks
from ...hooks.lr_schedule import LRSchedule
from ...registry import HOOKS, Config, require_valid
from ..runner import Runner


class Enough(BaseException):
    """A hook has seen enough: the trial ends here. No Exception, for of those a run says that it failed."""


def for_trial(config: Config, settings: Mapping[str, Any], hooks: Mapping[str, dict] | None = None) -> Config:
    """The config of a trial: without the hooks that evaluate, record or change the learning rate over time.

    Args:
        settings: top-level keys that are others in the trial.
        hooks: what it has in place of those hooks.

    Raises:
        ConfigError: the config has mistakes.
    """
    require_valid(config)  # imports, too, what the config brings
    data = copy.deepcopy(config.data)
    own = data.get("hooks", {})
    left_out = [name for name, hook in own.items() if _is_left_out(HOOKS.require(hook["type"]))]
    kept = {name: hook for name, hook in own.items() if name not in left_out}
    gone = [("hooks", name) for name in left_out]
    origins = {path: origin for path, origin in config.origins.items() if path[:2] not in gone}
    return Config({**data, **settings, "hooks": {**kept, **(hooks or {})}}, origins, config.name)


def run_trial(config: Config, watch: Hook, within: str | None = None) -> Runner:
    """Train until `watch`, a hook, raises Enough, or the run is over; in a temporary folder, without a log.

    Args:
        within: the folder for that folder, if not the system's.

    Raises:
        UserError: as a Runner does.
    """
    with TemporaryDirectory(prefix="knoll-trial-", dir=within) as folder, _without_log():
        runner = Runner(config, Path(folder, config.name))
        runner.hooks = Hooks({**runner.hooks.by_name, "trial": watch})
        runner.stopping.saves = True  # nothing is to be saved: no need to say, at Ctrl-C, that nothing is
        with suppress(Enough):
            runner.train()
        return runner


def _is_left_out(kind: Any) -> bool:
    if not inspect.isclass(kind):
        return False
    return issubclass(kind, Evaluation | LRSchedule) or bool(getattr(kind, "only_records", False))


@contextmanager
def _without_log() -> Iterator[None]:
    """What a run says of itself is no news here; warnings are."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
