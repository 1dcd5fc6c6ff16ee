"""A program that ends while workers are still there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import signal, sys, time, os
from multiprocessing import Process
import numpy as np, torch
from torchvision.transforms import v2
from knoll.datasets.base import ArrayImages
from knoll.datasets.loading.loader import EvaluationLoader

class Arrays(ArrayImages):
    images = np.zeros((64, 8, 8, 3), np.uint8)
    labels = [0] * 64

def tidy_up(*_):
    open("tidied", "w").close()
    os._exit(0)

def own():
    signal.signal(signal.SIGTERM, tidy_up)
    open("there", "w").close()
    time.sleep(60)

Process(target=own, daemon=True).start()
while not os.path.exists("there"):
    time.sleep(0.01)
transforms = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
batches = iter(EvaluationLoader(Arrays(), transforms, batch_size=2, num_workers=1, seed=0, start_method="fork"))
next(batches)
print(os.getpid())
"""


def test_workers_end_in_silence_and_others_children_as_python_ends_them(working_directory):
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""
    assert Path("tidied").exists()
