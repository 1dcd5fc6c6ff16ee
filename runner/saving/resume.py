"""Continuing a run: which checkpoint, and whether the experiment is still the same."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...registry import HOOKS, UserError, make_experiment
from ..processes.world_size import require_allowed
from .checkpoint import load, newest_whole
from .run_folder import RUNS, runs_of
from .state_kinds import fitting

if TYPE_CHECKING:
    from ..processes.distributed import World

_ABSENT = "(not set)"


def find_checkpoint(wanted: str, name: str, folder: Path | None) -> Path | None:
    """The checkpoint to continue from: of a folder, the one of the latest step that is whole.

    Args:
        wanted: "auto", "must", a checkpoint file, a run's folder, or that of its checkpoints.
        name: the config's name: "auto" and "must" take the newest of its runs.
        folder: the run's folder if one was given: "auto" and "must" look only there.

    Returns:
        the file; None if "auto" found nothing.

    Raises:
        UserError: a path that is not there, or holds no checkpoint; "must" found nothing; all there are, are damaged.
    """
    if wanted in ("auto", "must"):
        # The newest run only: falling back on an older one would pass that one off as this.
        runs = [folder] if folder else runs_of(RUNS / name)
        found = newest_whole(runs[-1]) if runs else None
        if found is None and wanted == "must":
            place = runs[-1] if runs else RUNS / name
            raise UserError(f"nothing to resume: there is no checkpoint in {place}. --resume alone starts a new run.")
        return found
    path = Path(wanted)
    if path.is_dir():
        found = newest_whole(path)
        if found is None:
            raise UserError(f"{path} holds no checkpoint (looked for {path}/checkpoints/step_*.pt)")
        return found
    if not path.is_file():
        raise UserError(f"there is no checkpoint or run folder {path}")
    return path


def folder_of(checkpoint: Path) -> Path:
    """The folder of the run that a checkpoint belongs to."""
    parent = checkpoint.absolute().parent
    return parent.parent if parent.name == "checkpoints" else checkpoint.parent


def load_same(path: Path, config: Mapping, world: World, allow_world_size: bool = False) -> dict[str, Any]:
    """Read a checkpoint to continue from.

    Args:
        allow_world_size: go on with another number of processes; then how they divide a step may be another, too.

    Raises:
        UserError: it is damaged, of another experiment, or of another number of processes.
    """
    state = load(path)
    may_differ = require_allowed(state["world_size"], world, path, allow_world_size)
    require_same(state["config"], config, path, may_differ)
    return state


def require_same(old: Mapping, new: Mapping, path: Path, may_differ: Collection[str] = ()) -> None:
    """Refuse to continue a run as another experiment; what only records or reads may change, and what `may_differ`.

    Raises:
        UserError: the configs differ; lists every difference with both values.
    """
    with fitting(path):
        differences = _differences(_what_counts(old), _what_counts(new))
    if differences := [each for each in differences if each[0] not in may_differ]:
        listed = "".join(f"\n  {key}: was {was!r}, is {now!r}" for key, was, now in differences)
        raise UserError(
            f"{path} was written by another experiment:{listed}\n"
            "Continue with the config it was started with; or start a new run from its weights: "
            f"weights={path}"
        )


def _what_counts(config: Mapping) -> dict[str, Any]:
    """The config's values by dotted path, defaults filled in, without those that do not change what is computed."""
    experiment = asdict(make_experiment(config))
    hooks = {name: hook for name, hook in experiment["hooks"].items() if not _only_records(hook)}
    evaluation_acts = any(hook.get("monitor") for hook in hooks.values())
    if not evaluation_acts:
        hooks = {name: hook for name, hook in hooks.items() if hook["type"] != "Evaluation"}
        experiment["evaluation"] = {}
    for key in ("metrics", "imports", "plugins", "stop_at_nan", "keep_freed_memory"):
        del experiment[key]
    for loader in (experiment["train"], *experiment["evaluation"].values()):
        for key in ("num_workers", "start_method", "unreadable"):  # what is unreadable has ended the run so far
            loader.pop(key, None)
    # Of several patterns that cover a parameter the last one counts.
    patterns = {"freeze": experiment["freeze"], "param_groups": (experiment["param_groups"] or {}).get("patterns")}
    orders = {f"order of {key}": list(each) for key, each in patterns.items() if isinstance(each, dict)}
    return flatten({**experiment, "hooks": hooks, **orders}, "")


def _only_records(hook: Mapping) -> bool:
    return getattr(HOOKS.get(hook["type"]), "only_records", False)


def flatten(value: Any, path: str = "") -> dict[str, Any]:
    """The values of a config by dotted path."""
    if isinstance(value, Mapping):
        items: Any = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    else:
        return {path: value}
    return {k: v for key, each in items for k, v in flatten(each, f"{path}.{key}" if path else str(key)).items()}


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    keys = dict.fromkeys([*old, *new])
    pairs = [(key, old.get(key, _ABSENT), new.get(key, _ABSENT)) for key in keys]
    return [(key, was, now) for key, was, now in pairs if was != now]
