"""What to say when a name is in no registry: where it is, or what was meant."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .discover import BROKEN, PACKAGE_ROOT
from .index import SEARCHED, Registration, registrations
from .names import did_you_mean

if TYPE_CHECKING:
    from .registry import Registry


def explain_unknown(name: str, registry: Registry) -> str:
    """The message for an unknown name: begins as mmengine's does, then says where the name is or what is near it."""
    article = "an" if registry.name[0] in "aeiou" else "a"
    message = f"{name} is not in the {registry.name} registry."
    prefix = name.partition("/")[0]
    if "/" in name and prefix in registry.source_prefixes:
        source = registry._sources[prefix]
        return message + did_you_mean(name, (f"{prefix}/{known}" for known in source.names()))

    for found in _unimported(name):
        key = found.registry.lower()
        if registry.plural == key:
            return f"{message} {_how_to_import(found)}"
        return f"{message} {_place(found)} registers it with {found.registry}: it is not {article} {registry.name}."
    for other in {id(each): each for each in registry.by_key.values()}.values():
        if other is not registry and other.has(name):
            return f"{message} It is a {other.name}."
    return message + did_you_mean(name, registry.list()) + broken_files(registry)


def broken_files(registry: Registry) -> str:
    """The files of the registry's folders, and the plugins, that could not be imported, each with its error."""
    folders = [PACKAGE_ROOT.joinpath(*location.split(".")[1:]) for location in registry.locations]
    lines = []
    for file, trace in BROKEN.items():
        if not file.is_relative_to(PACKAGE_ROOT) or any(file.is_relative_to(folder) for folder in folders):
            at = re.findall(r", line (\d+)", trace)[-1:]
            lines.append(f"\n{':'.join([relative(file), *at])} cannot be imported: {trace.strip().splitlines()[-1]}")
    return "".join(lines)


def _unimported(name: str) -> list[Registration]:
    folders = [Path.cwd(), *SEARCHED, PACKAGE_ROOT]
    distinct = {folder.resolve(): folder for folder in folders}
    return [found for folder in distinct.values() for found in registrations(folder, name)]


def _how_to_import(found: Registration) -> str:
    file = found.file.resolve()
    for broken, trace in BROKEN.items():
        if broken.resolve() == file:
            return f"{_place(found)} registers it, but that file cannot be imported:\n\n{trace}"
    where = f"It is registered in {_place(found)}, which is not imported: "
    try:
        module = ".".join(file.relative_to(Path.cwd().resolve()).with_suffix("").parts)
    except ValueError:
        return where + f"add plugins=[{str(file.parent)!r}] to the config."
    return where + f"add imports=[{module.removesuffix('.__init__')!r}] to the config."


def _place(found: Registration) -> str:
    return f"{relative(found.file)}:{found.line}"


def relative(file: Path | str) -> str:
    """A path as one would type it here: relative to the working directory where it lies below that."""
    try:
        return str(Path(file).resolve().relative_to(Path.cwd().resolve()))
    except (ValueError, RuntimeError, OSError):  # elsewhere, or a link to itself
        return str(file)
