"""The line at the end of a run: what its time went into, how fast it was, and what it could have been."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..step.passes import passes
from .arithmetic import peak, training_flops
from .peak_memory import peak_memory
from .time_shares import PARTS, in_percent

if TYPE_CHECKING:
    from ..runner import Runner

# Seconds of training from which on a run's FLOPs are told: to count them takes up to a second.
_WORTH_COUNTING = 10.0


def time_line(runner: Runner, with_flops: bool = True) -> str:
    """For example `time: 3 min 12 s  start-up 1 %  data 2 %  forward 31 %  backward 56 %  optimizer 4 %  hooks 0 %
    evaluation 5 %  checkpoints 1 %   1834 img/s   peak memory 812 MB   62 GFLOP/s, 58 % of a matrix product's here`.

    Shares of this process's time since the Runner was made; they sum to 100 %, and parts that never were are left out.
    Images per second, of all processes, and FLOP/s are those of training: without start-up, evaluations and
    checkpoints. Memory is this process's: on CUDA what torch had allocated on the device at most, else the largest
    resident set since the process began, without workers.

    Args:
        with_flops: whether there is time to count them. They are left out, too, of runs that trained for less than ten
            seconds, of models that cannot be counted, and of those that are spread over several processes (FSDP).
    """
    seconds, training, images = runner.stopwatch.by_part(), runner.stopwatch.training(), runner.stopwatch.images
    shares = [
        f"{name} {share} %" for name, share, each in zip(PARTS, in_percent(seconds), seconds, strict=True) if each
    ]
    figures = [f"{images / training:.0f} img/s"] if images else []
    if memory := peak_memory(runner.device):
        figures.append(f"peak memory {memory / 1e6:.0f} MB")
    if with_flops and images and training >= _WORTH_COUNTING and (told := _flops(runner, images / training)):
        figures.append(told)
    return "   ".join(["  ".join([f"time: {_clock(sum(seconds))}", *shares]), *figures])


def _flops(runner: Runner, images_per_second: float) -> str | None:
    """FLOP/s of all processes, and each one's share of its device's peak.

    Without the share where it would be over 100 % on a CPU: oneDNN computes 3x3 convolutions by fewer multiplications
    than are counted (Lavin and Gray 2016, arXiv 1509.09308), and a matrix product is no bound for them.
    """
    model = runner.forward.model
    if any(hasattr(parameter, "full_tensor") for parameter in model.parameters()):
        return None  # spread over the processes (DTensor): a forward pass of one alone would wait for the others
    one = runner.batches[-1].images[:1].to(runner.device)
    try:
        rate = passes(runner.optimizer) * training_flops(model, one) * images_per_second
        most, what = peak(runner.device, runner.forward.precision, runner.experiment.tf32)
    except Exception:  # a model may do anything; and the run is over, so that no figure is worth an error
        return None
    if not rate:
        return None
    unit, name = (1e12, "TFLOP/s") if rate >= 1e12 else (1e9, "GFLOP/s")
    figure = f"{rate / unit:.0f}" if rate >= 100 * unit else f"{rate / unit:.3g}"
    share = rate / runner.world.size / most
    if share > 1 and runner.device.type == "cpu":
        return f"{figure} {name}"
    return f"{figure} {name}, {100 * share:.0f} % of {what}"


def _clock(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
