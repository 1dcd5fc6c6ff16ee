"""Registry: a table of names that turns `dict(type="ResNet", depth=34)` into an object.

The public face follows mmengine's Registry, so that a class registered there moves over by changing an import.
There are no scopes: a name is a name.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, ClassVar, Protocol

from .discover import import_entry_points
from .errors import BuildError, DuplicateNameError, UnknownNameError, UserError, in_short
from .hints import explain_unknown
from .signature import bind, takes


class Source(Protocol):
    """A whole library as a source of names: `timm/lamb` asks the source `timm` for `lamb`."""

    def get(self, name: str) -> Callable | None: ...

    def names(self) -> Iterable[str]: ...


class Registry:
    """Maps names to classes or functions, and builds them from config dicts.

        BACKBONES = Registry("backbone")

        @BACKBONES.register_module()
        class MyNet(nn.Module): ...

        net = BACKBONES.build(dict(type="MyNet", width=64))

    Args:
        name: what one entry is called: "backbone". In a config, a dict under the key `backbone` is looked up here,
            and so is every item under its plural, `backbones`.
        also: further keys under which a config holds one entry, or a list: an `auxiliary_head` is a head.
        build_func: replaces `build_from_cfg`; called as `build_func(cfg, *args, registry=self, **kwargs)`.
        locations: modules that register entries here; imported when a name is first asked for.
        provides: arguments that Knoll itself passes to every entry of this registry (a head's `in_features`),
            which a config therefore does not give.
        durations: a config may write "5ep" or "10%" where an entry takes a whole number.
    """

    by_key: ClassVar[dict[str, Registry]] = {}

    def __init__(
        self,
        name: str,
        build_func: Callable | None = None,
        *,
        plural: str | None = None,
        also: Sequence[str] = (),
        locations: Sequence[str] = (),
        provides: Sequence[str] = (),
        durations: bool = False,
    ) -> None:
        self.name = name
        self.plural = plural or name + "s"
        self.build_func = build_func or build_from_cfg
        self.provides = tuple(provides)
        self.durations = durations
        self.locations = tuple(locations)
        self._loaded = False
        self._modules: dict[str, Callable] = {}
        self._places: dict[str, str] = {}
        self._sources: dict[str, Source] = {}
        for key in (self.name, self.plural, *also):
            Registry.by_key.setdefault(key, self)  # a second registry of that name does not take the keys over

    # --- registering ---------------------------------------------------------------------------------------------

    def register_module(
        self, name: str | Sequence[str] | Callable | None = None, force: bool = False, module: Callable | None = None
    ) -> Any:
        """Register a class or function: `@X.register_module()`, `@X.register_module`, `register_module(module=M)`.

        Args:
            name: one name or several; the class's own by default.
            force: replace what has that name instead of raising.

        Raises:
            TypeError: name, force or module of a wrong type.
            DuplicateNameError: the name is taken; says where by both.
        """
        if not isinstance(force, bool):
            raise TypeError(f"force must be a boolean, but got {type(force)}")
        place = _caller()
        if callable(name):  # @X.register_module without parentheses
            return self._register(name, None, force, place)
        if not (name is None or isinstance(name, str) or _is_list_of_str(name)):
            raise TypeError(f"name must be None, an instance of str, or a sequence of str, but got {type(name)}")
        if module is not None:
            return self._register(module, name, force, place)
        return lambda decorated: self._register(decorated, name, force, place)

    def _register(self, module: Callable, name: str | Sequence[str] | None, force: bool, place: str) -> Callable:
        if not callable(module):
            raise TypeError(f"module must be Callable, but got {type(module)}")
        if force:
            self._load()  # what is to be replaced must be there first
        for key in [name] if isinstance(name, str) else name or [module.__name__]:
            taken = self._modules.get(key)
            if taken is not None and not force and not self._is_rerun(key, taken, module, place):
                raise DuplicateNameError(
                    f"{key} is already registered in {self.name} at {self._places[key]}, and again at {place}: "
                    "rename one of them, or pass force=True to replace the first."
                )
            self._modules[key], self._places[key] = module, place
        return module

    def _is_rerun(self, key: str, old: Callable, new: Callable, place: str) -> bool:
        """Whether `new` is `old` executed again: a notebook's cell run twice, a module reloaded."""
        same_name = (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)
        return same_name and (new.__module__ == "__main__" or self._places[key] == place)

    def add_source(self, prefix: str, source: Source) -> None:
        """Make every name of a library available as `prefix/name`. The source is asked only when a name is."""
        self._sources[prefix] = source

    # --- looking up ----------------------------------------------------------------------------------------------

    def get(self, key: str) -> Callable | None:
        """The class or function of that name, or None."""
        if not isinstance(key, str):
            raise TypeError(f"The key argument of `Registry.get` must be a str, got {type(key)}")
        self._load()
        prefix, _, rest = key.partition("/")
        if rest and prefix in self._sources:
            return self._sources[prefix].get(rest)
        return self._modules.get(key)

    def require(self, key: str) -> Callable:
        """As `get`, but an unknown name raises UnknownNameError with the nearest names and unimported code."""
        found = self.get(key)
        if found is None:
            raise UnknownNameError(explain_unknown(key, self))
        return found

    def build(self, cfg: Mapping, *args: Any, **kwargs: Any) -> Any:
        """Build the object that `cfg` describes: its `type` names it, its other keys are the arguments."""
        return self.build_func(cfg, *args, registry=self, **kwargs)

    def list(self, pattern: str = "*", sources: bool = False) -> list[str]:
        """Names that match a shell pattern (`res*`), sorted; with `sources`, those of whole libraries too."""
        self._load()
        names: list[str] = sorted(self._modules)
        if sources:
            for prefix, source in self._sources.items():
                names += sorted(f"{prefix}/{name}" for name in source.names())
        return [name for name in names if fnmatchcase(name.lower(), pattern.lower())]

    def place(self, key: str) -> str:
        """Where a name was registered, as `file:line`."""
        return self._places.get(key, "")

    @property
    def module_dict(self) -> dict[str, Callable]:
        self._load()
        return self._modules

    @property
    def source_prefixes(self) -> list[str]:
        self._load()
        return sorted(self._sources)

    def __len__(self) -> int:
        return len(self.module_dict)

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self.module_dict)

    def __repr__(self) -> str:
        return f"Registry(name={self.name}, items={', '.join(sorted(self._modules))})"

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True  # first: the modules ask this registry for names while they are being imported
        for location in self.locations:
            importlib.import_module(location)
        if self.locations:
            import_entry_points()


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


def _is_list_of_str(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(item, str) for item in value)


def _caller() -> str:
    """`file:line` of the code that called the public method."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
