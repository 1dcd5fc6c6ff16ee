"""Registry: a table of names that turns `dict(type="ResNet", depth=34)` into an object.

The public face follows mmengine's Registry, so that a class registered there moves over by changing an import.
There are no scopes: a name is a name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, ClassVar

from .build import build_from_cfg
from .described import Described
from .discover import import_entry_points
from .errors import DuplicateNameError, UnknownNameError
from .fit import NotImportedError
from .folders import Folders
from .hints import explain_unknown
from .source_text import own_first_line
from .sources import ModuleClasses, Source


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
        locations: packages whose files register entries here, each imported when one of its names is first asked for.
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
        self._found: Folders | None = None
        self._loaded = self._libraries_loaded = False
        self._complete = False
        self._modules: dict[str, Callable] = {}
        self._places: dict[str, str] = {}
        self._sources: dict[str, Source] = {}
        self._library: ModuleClasses | None = None
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
        for key in [name] if isinstance(name, str) else name or [module.__name__]:
            if force:
                self._folders.import_name(key)  # what is to be replaced must be there first
            elif first := self._first_place(key, module, place):
                raise self._taken_twice(key, first, place)
            self._modules[key], self._places[key] = module, place
        return module

    def _first_place(self, key: str, module: Callable, place: str) -> str | None:
        """Where what has this name already is registered, be it imported or not."""
        taken = self._modules.get(key)
        if taken is not None:
            return None if self._is_rerun(key, taken, module, place) else self._places[key]
        if known := self._folders.unforced(key):
            is_this = known.file.resolve() == Path(place.rpartition(":")[0]).resolve()
            return None if is_this else f"{known.file}:{known.line}"
        self._load_libraries()
        return self._library.module if self._library and key in self._library else None

    def _require_one(self, key: str) -> None:
        """What a file here registers is not a library's, unless it is meant to replace it."""
        known = self._folders.unforced(key)
        if known and self._library and key in self._library:
            raise self._taken_twice(key, self._library.module, f"{known.file}:{known.line}")

    def _taken_twice(self, key: str, first: str, place: str) -> DuplicateNameError:
        return DuplicateNameError(
            f"{key} is already registered in {self.name} at {first}, and again at {place}: "
            "rename one of them, or pass force=True to replace the first."
        )

    def _is_rerun(self, key: str, old: Callable, new: Callable, place: str) -> bool:
        """Whether `new` is `old` executed again: a notebook's cell run twice, a module reloaded."""
        same_name = (old.__module__, old.__qualname__) == (new.__module__, new.__qualname__)
        return same_name and (new.__module__ == "__main__" or self._places[key] == place)

    def add_source(self, prefix: str, source: Source) -> None:
        """Make every name of a library available as `prefix/name`. The source is asked only when a name is."""
        self._sources[prefix] = source

    def add_library(self, classes: ModuleClasses) -> None:
        """Make the classes of a library's module available by their own names; what is registered goes before them."""
        self._library = classes

    # --- looking up ----------------------------------------------------------------------------------------------

    def get(self, key: str) -> Callable | None:
        """The class or function of that name, or None."""
        if not isinstance(key, str):
            raise TypeError(f"The key argument of `Registry.get` must be a str, got {type(key)}")
        self._load()
        prefix, _, rest = key.partition("/")
        if rest and prefix in self._sources:
            return self._sources[prefix].get(rest)
        if key not in self._modules and self.has(key):
            self._require_one(key)
            self._folders.import_name(key)
        if key not in self._modules and self._library:
            return self._library.get(key)
        return self._modules.get(key)

    def require(self, key: str) -> Callable:
        """As `get`, but an unknown name raises UnknownNameError with the nearest names and unimported code."""
        found = self.get(key)
        if found is None:
            raise UnknownNameError(explain_unknown(key, self))
        return found

    def describe(self, key: str) -> Callable | Described:
        """As `require`, but what is not imported is read from its text.

        Raises:
            UnknownNameError: nothing has this name.
            NotImportedError: only an import tells what the entry takes.
        """
        if key in self._modules:
            return self._modules[key]
        if not self.has(key):
            raise UnknownNameError(explain_unknown(key, self))
        if "/" in key:
            raise NotImportedError(key)
        if place := self._folders.place(key):
            return Described(*place)
        return Described(self._library.module, key) if self._library else self.require(key)

    def build(self, cfg: Mapping, *args: Any, **kwargs: Any) -> Any:
        """Build the object that `cfg` describes: its `type` names it, its other keys are the arguments."""
        return self.build_func(cfg, *args, registry=self, **kwargs)

    def list(self, pattern: str = "*", sources: bool = False) -> list[str]:
        """Names that match a shell pattern (`res*`), sorted; with `sources`, those of whole libraries too.

        Nothing is imported where names stand in the text: a file that fails when it is imported has its names here too.
        """
        names: list[str] = sorted(self._names())
        if sources:
            for prefix, source in self._sources.items():
                names += sorted(f"{prefix}/{name}" for name in source.names())
        return [name for name in names if fnmatchcase(name.lower(), pattern.lower())]

    def has(self, key: str) -> bool:
        """Whether there is something of that name, asked of the text where nothing is imported yet."""
        self._load()
        prefix, _, rest = key.partition("/")
        if rest and prefix in self._sources:
            return rest in self._sources[prefix].names()
        known = key in self._modules or key in self._folders or bool(self._library and key in self._library)
        return known or (self._folders.import_rest() and key in self._modules)

    def first_line(self, key: str) -> str:
        """The first line of what an entry says of itself; nothing for one with a prefix."""
        if "/" in key or not self.has(key):
            return ""
        if key in self._modules:
            return own_first_line(self._modules[key])
        if key in self._folders:
            return self._folders.first_line(key)
        return self._library.first_line(key) if self._library else ""

    def place(self, key: str) -> str:
        """Where a name was registered, as `file:line`."""
        return self._places.get(key, "")

    @property
    def module_dict(self) -> dict[str, Callable]:
        """Every name with its class or function: all of them are imported for it."""
        self._load()
        if not self._complete:
            self._complete = True
            self._folders.import_all()
            if self._library:
                for name, each in self._library.classes().items():
                    self._modules.setdefault(name, each)
                    self._places.setdefault(name, self._library.module)
        return self._modules

    @property
    def source_prefixes(self) -> list[str]:
        self._load()
        return sorted(self._sources)

    def _names(self) -> set[str]:
        self._load()
        self._folders.import_rest(elsewhere=False)
        own = {*self._modules, *self._folders.names}
        for name in own:
            self._require_one(name)
        return {*own, *(self._library.names() if self._library else ())}

    def __len__(self) -> int:
        return len(self._names())

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._names()))

    def __repr__(self) -> str:
        return f"Registry(name={self.name}, items={', '.join(sorted(self._modules))})"

    def _load(self) -> None:
        """Import what must be: plugins, and files whose names only an import tells."""
        if self._loaded:
            return
        self._loaded = True  # first: the modules ask this registry for names while they are being imported
        self._load_libraries()
        if self.locations:
            import_entry_points()

    def _load_libraries(self) -> None:
        if not self._libraries_loaded:
            self._libraries_loaded = True
            self._folders.import_uncertain()

    @property
    def _folders(self) -> Folders:
        if self._found is None:
            registries = Registry.by_key.values()
            self._found = Folders(self.locations, self._variable, (each._variable for each in registries))
        return self._found

    @property
    def _variable(self) -> str:
        return self.plural.upper()


def _is_list_of_str(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(item, str) for item in value)


def _caller() -> str:
    """`file:line` of the code that called the public method."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
