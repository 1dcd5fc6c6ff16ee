"""Maps the folders of this repository onto the import names `knoll.registry`, `knoll.models`, ...

A folder called `datasets` or `models` cannot be installed under its own name: it would overwrite, or be shadowed by,
the package of that name on the index. Everything else about the package is in pyproject.toml.
"""

from setuptools import find_packages, setup

NOT_PACKAGED = ["tests*", "configs*", "docs*", "benchmarks*"]

setup(
    package_dir={"knoll": "."},
    packages=["knoll." + name for name in find_packages(exclude=NOT_PACKAGED)],
)
