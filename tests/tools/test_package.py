"""The folders as a package: nothing of ours under another's name, and a file that is dropped in is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_datasets_never_comes_from_this_repository():
    """The package index has a package `datasets`; ours is `knoll.datasets` only, wherever Python is started."""
    code = (
        "import knoll.runner, knoll.registry.discover as discover; discover.import_modules(['json'])\n"
        "try:\n    import datasets\n    print(datasets.__file__)\nexcept ImportError:\n    print('none')"
    )
    # -I: without the working directory, which `-c` would put on the path, as no script of ours does.
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert str(ROOT) not in done.stdout
    assert not str(getattr(sys.modules.get("datasets"), "__file__", "")).startswith(str(ROOT))


@pytest.fixture
def dropped():
    """A file in models/backbones/, gone again afterwards."""
    files = []

    def drop(name: str, text: str) -> Path:
        file = ROOT / "models/backbones" / name
        assert not file.exists()
        files.append(file)
        file.write_text(text)
        return file

    yield drop
    for file in files:
        file.unlink()


NET = '''\
from torch import nn

from ...registry import BACKBONES


@BACKBONES.register_module()
class DroppedInByATest(nn.Module):
    """A test put me here."""

    num_features = 1

    def forward(self, images):
        return images.mean(dim=(2, 3))[:, :1]
'''


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "knoll.tools.cli", *arguments], capture_output=True, text=True, timeout=120
    )


def test_a_file_dropped_into_a_folder_is_found(dropped):
    dropped("zz_dropped_in_by_a_test.py", NET)
    assert "DroppedInByATest  A test put me here." in run("list", "backbones").stdout


def test_a_file_that_cannot_be_imported_breaks_only_what_needs_it(dropped, tiny, working_directory):
    import yaml

    dropped("zz_broken_by_a_test.py", NET.replace("from torch import nn", "from torch import nnn"))
    (working_directory / "fine.yaml").write_text(yaml.safe_dump(tiny))
    assert run("check", "fine.yaml").returncode == 0
    broken = run("check", "fine.yaml", "model.backbone.type=DroppedInByATest")
    assert broken.returncode == 2
    assert "zz_broken_by_a_test.py:7 registers it, but that file cannot be imported" in broken.stderr
    assert "cannot import name 'nnn' from 'torch'" in broken.stderr


def test_a_file_that_does_not_even_parse_is_named(dropped):
    """A newcomer's likeliest first error: one colon too few."""
    dropped("zz_unparsable_by_a_test.py", NET.replace("(nn.Module):", "(nn.Module)"))
    listed = run("list", "backbones")
    assert "ResNet" in listed.stdout
    assert "zz_unparsable_by_a_test.py:7 cannot be imported: SyntaxError: expected ':'" in listed.stderr


def test_a_name_taken_twice_names_both_files(dropped):
    dropped("zz_twice_by_a_test.py", NET.replace("DroppedInByATest", "ResNet"))
    done = run("list", "backbones")
    assert done.returncode == 2
    assert "resnet.py:" in done.stderr
    assert "zz_twice_by_a_test.py:" in done.stderr


def test_the_command_line_lists_its_commands():
    shown = run("--help").stdout
    for name in ("train", "test", "list", "check"):
        assert f"\n  {name}" in shown
    assert run("trian").returncode == 2
