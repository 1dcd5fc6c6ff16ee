"""Building an object from a config dict."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import BuildError, UnknownNameError, UserError, in_short
from .signature import bind, takes

if TYPE_CHECKING:
    from .registry import Registry


def build_from_cfg(cfg: Mapping, registry: Registry, default_args: Mapping | None = None) -> Any:
    """Build an object from a config dict.

    Args:
        cfg: `dict(type=..., **arguments)`; `type` is a registered name, or the class itself.
        default_args: objects for parameters that `cfg` does not name; what the constructor does not take is left out.

    Raises:
        TypeError: cfg, registry, default_args or type of a wrong type, as in mmengine.
        KeyError: no `type`, or a name that is not registered.
        BuildError: arguments that the constructor does not take, or of a wrong type; or the constructor failed.
    """
    if not isinstance(cfg, Mapping):
        raise TypeError(f"cfg should be a dict, ConfigDict or Config, but got {type(cfg)}")
    from .registry import Registry  # which imports this file

    if not isinstance(registry, Registry):
        raise TypeError(f"registry must be a knoll.Registry object, but got {type(registry)}")
    if not (default_args is None or isinstance(default_args, Mapping)):
        raise TypeError(f"default_args should be a dict, ConfigDict, Config or None, but got {type(default_args)}")
    arguments, offered = dict(cfg), {key: value for key, value in (default_args or {}).items() if key not in cfg}
    kind = arguments.pop("type", None) or offered.pop("type", None)
    if kind is None:
        raise UnknownNameError(f'`cfg` or `default_args` must contain the key "type", but got {dict(cfg)}')
    if isinstance(kind, str):
        target = registry.require(kind)
    elif inspect.isclass(kind) or inspect.isfunction(kind):
        target = kind
    else:
        raise TypeError(f"type must be a str or valid type, but got {type(kind)}")

    arguments, problems = bind(target, arguments, provided=offered)
    if problems:
        listed = "".join(f"\n  {problem.key}: {problem.message}" for problem in problems)
        raise BuildError(f"{registry.name} {kind} cannot be built:{listed}", cfg)
    try:
        return target(**takes(target, offered), **arguments)
    except UserError:
        raise
    except Exception as error:  # it may be anyone's, and what it is given comes from a config
        reason = in_short(error)
        raise BuildError(f"{registry.name} {kind} cannot be built: {reason} (--debug shows where)", cfg) from error
