"""List what can be named in a config.

python tools/list.py                      # the kinds, and how many names each has
python tools/list.py backbones            # names of one kind, with a line about each
python tools/list.py backbones "res*"     # those that match
python tools/list.py backbones res        # that name, or else all with `res` in them
python tools/list.py optimizers --all     # also those of whole libraries: timm/...

Exit status 1 if nothing matches.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knoll.registry import Registry, UserError
from knoll.registry.hints import broken_files
from knoll.registry.names import did_you_mean
from knoll.tools.cli import parser, run

NO_MATCH = 1  # as of grep


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("list", __doc__)
    arguments.add_argument("kind", nargs="?", help="backbones, heads, losses, ...")
    arguments.add_argument(
        "pattern", nargs="?", default="*", help="a shell pattern, or a part of names; case does not matter"
    )
    arguments.add_argument("--all", action="store_true", help="names of whole libraries too; with a / in it implied")
    options = arguments.parse_args(argv)

    registries = {registry.plural: registry for registry in Registry.by_key.values()}
    if options.kind is None:
        for name, registry in registries.items():
            libraries = "".join(f", {prefix}/..." for prefix in registry.source_prefixes)
            print(f"{name:<12} {len(registry)}{libraries}")
        return 0
    registry = Registry.by_key.get(options.kind)
    if registry is None:
        raise UserError(f"there is no kind {options.kind!r}.{did_you_mean(options.kind, registries)}")
    sources = options.all or "/" in options.pattern
    names = matching(registry, options.pattern, sources)
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:<{width}}  {registry.first_line(name)}".rstrip())
    if broken := broken_files(registry):
        print(broken.strip(), file=sys.stderr)
    if not names:
        print(nothing(registry, options.pattern, sources), file=sys.stderr)
    return 0 if names else NO_MATCH


def matching(registry: Registry, pattern: str, sources: bool) -> list[str]:
    """Names that match a shell pattern; of a word that is none and no whole name, those that it is a part of."""
    names = registry.list(pattern, sources)
    return names if names or set(pattern) & set("*?[") else registry.list(f"*{pattern}*", sources)


def nothing(registry: Registry, pattern: str, sources: bool) -> str:
    """What to say where nothing matches: how many names of libraries would, or what is near."""
    message = f"no {registry.name} matches {pattern!r}."
    if not sources and (further := matching(registry, pattern, True)):
        few = ", ".join(sorted(further, key=len)[:3]) + (", ..." if len(further) > 3 else "")
        return f"{message} Add --all for names of libraries: {few}"
    return message + did_you_mean(pattern.strip("*?"), registry.list(sources=sources))


if __name__ == "__main__":
    sys.exit(run(main))
