"""List what can be named in a config.

python tools/list.py                      # the kinds, and how many names each has
python tools/list.py backbones            # names of one kind, with a line about each
python tools/list.py backbones "res*"     # those that match
python tools/list.py optimizers --all     # also those of whole libraries: timm/...
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from knoll.registry import Registry, UserError
from knoll.registry.hints import broken_files
from knoll.registry.names import did_you_mean
from knoll.tools.cli import parser, run


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parser("list", __doc__)
    arguments.add_argument("kind", nargs="?", help="backbones, heads, losses, ...")
    arguments.add_argument("pattern", nargs="?", default="*", help="a shell pattern; case does not matter")
    arguments.add_argument("--all", action="store_true", help="names of whole libraries too")
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
    names = registry.list(options.pattern, sources=options.all)
    width = max(map(len, names), default=0)
    for name in names:
        print(f"{name:<{width}}  {registry.first_line(name)}".rstrip())
    if broken := broken_files(registry):
        print(broken.strip(), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
