"""Finding code that registers things: a folder's own files, a config's `imports` and `plugins`, installed packages."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from .errors import ConfigError, DuplicateNameError, in_short

# Files that could not be imported, with their tracebacks: told only to those who ask for what is in them.
BROKEN: dict[Path, str] = {}

# What configs asked to import, for processes that start from nothing and need the same code.
_ASKED_FOR: dict[str, dict[str, None]] = {"imports": {}, "plugins": {}}

PACKAGE_ROOT = Path(__file__).resolve().parent.parent


def import_siblings(package: str, path: Iterable[str]) -> None:
    """Import every file and folder beside a package's `__init__.py`; call it there with `__name__` and `__path__`.

    For packages that no registry names among its `locations`, whose files it finds itself. A file that fails to import
    is remembered in BROKEN and breaks only the configs that need it; but a name registered twice is an error at once,
    for it would be ambiguous.
    """
    for module in pkgutil.iter_modules(path):
        file = Path(next(iter(path)), module.name)
        import_or_remember(
            f"{package}.{module.name}", file / "__init__.py" if module.ispkg else file.with_suffix(".py")
        )


def import_or_remember(module: str, file: Path) -> None:
    """Import a file; one that fails is remembered in BROKEN, but for a name that it registers a second time."""
    try:
        importlib.import_module(module)
    except DuplicateNameError:
        raise
    except Exception:
        BROKEN[file] = traceback.format_exc()


@functools.cache
def import_entry_points() -> None:
    """Import what installed packages offer under the entry point group `knoll.plugins`, once."""
    from importlib.metadata import entry_points  # with email and zipfile, a tenth of the start of a tool

    for entry in entry_points(group="knoll.plugins"):
        try:
            entry.load()
        except DuplicateNameError:
            raise
        except Exception:
            BROKEN[Path(f"entry point {entry.name} = {entry.value}")] = traceback.format_exc()


def import_modules(names: Sequence[str]) -> None:
    """Import the modules that a config lists under `imports`; they may lie in the working directory.

    Raises:
        ConfigError: there is no such module, or it cannot be imported.
    """
    for name in names:
        if not any(isinstance(finder, _WorkingDirectory) for finder in sys.meta_path):
            sys.meta_path.append(_WorkingDirectory())
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is not None and (name + ".").startswith(error.name + "."):
                raise ConfigError(
                    f"imports: there is no module `{name}`: neither installed nor below {Path.cwd()}"
                ) from error
            raise _not_imported("imports", name, error) from error
        except DuplicateNameError:
            raise
        except Exception as error:
            raise _not_imported("imports", name, error) from error
        _ASKED_FOR["imports"][name] = None


def import_folders(folders: Sequence[str]) -> None:
    """Import every `.py` file of the folders that a config lists under `plugins`.

    Raises:
        ConfigError: there is no such folder, or a file in it cannot be imported.
    """
    for folder in folders:
        if not Path(folder).is_dir():
            raise ConfigError(f"plugins: there is no folder {Path(folder).absolute()}")
        for file in sorted(Path(folder).glob("[!.]*.py")):  # an editor's lock begins with a dot
            try:
                _import_file(file)
            except DuplicateNameError:
                raise
            except Exception as error:
                raise _not_imported("plugins", str(file), error) from error
        _ASKED_FOR["plugins"][str(Path(folder).absolute())] = None


def _not_imported(key: str, what: str, error: Exception) -> ConfigError:
    return ConfigError(f"{key}: {what!r} cannot be imported: {in_short(error)} (--debug shows where)")


def asked_for() -> dict[str, list[str]]:
    """The `imports` and `plugins` of all configs of this process."""
    return {key: list(names) for key, names in _ASKED_FOR.items()}


def import_again(asked: dict[str, list[str]]) -> None:
    """Import in this process what another one was asked for."""
    import_modules(asked["imports"])
    import_folders(asked["plugins"])


def _import_file(file: Path) -> ModuleType:
    place = hashlib.sha256(str(file.resolve()).encode()).hexdigest()[:8]  # two folders may have files of one name
    name = f"knoll_plugins_{place}_{file.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugins: {file} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


class _WorkingDirectory(MetaPathFinder):
    """Finds modules in the working directory, last of all.

    Not an entry in sys.path: there, the folders `datasets`, `models`, ... of a Knoll checkout would be offered to every
    `import datasets` that some library tries.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        here = Path.cwd()
        if path is not None or (here.resolve() == PACKAGE_ROOT and (here / fullname / "__init__.py").exists()):
            return None
        return PathFinder.find_spec(fullname, [str(here)], target)
