"""The cases of failure by their numbers, which tests name: `@pytest.mark.row(18)`."""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    """What happens, and what must hold then."""

    happens: str
    holds: str


# The first number of each.
GROUPS = {"Saving and stopping": 1, "Resuming": 11, "Data": 23, "Config": 38, "Processes": 43}

CASES = {
    1: Case(
        "kill -9 while a checkpoint is written", "the newest checkpoint is whole; left-over pieces go at the next start"
    ),
    2: Case("the power fails", "the file is on the disk before it gets its name, and the name before the run goes on"),
    3: Case(
        "SIGTERM in the middle of an epoch, to all processes, with and without workers",
        "saved at most one step later, exit code 143; the resumed run ends with the same bits",
    ),
    4: Case("SIGTERM during an evaluation, the warm-up, a save", "as 3"),
    5: Case(
        "Ctrl-C; Ctrl-C again", "saves and exits with 130; the second ends it within 1 s, the last checkpoint whole"
    ),
    6: Case(
        "the disk is full",
        "the checkpoint before is untouched, nothing half written is left, the error says where and how much",
    ),
    7: Case("the run's folder cannot be written, or is a file", "an error within 5 s, before any step"),
    8: Case("two runs in one folder", "the second is refused within 2 s; kill -9 of the first leaves no lock behind"),
    9: Case("the clock goes backwards", "the newest checkpoint is the one of the latest step"),
    10: Case("TensorBoard of a resumed run", "one curve, its steps increasing"),
    11: Case(
        "resumed in mid-epoch: shuffling, augmentation, mixed precision, EMA, schedule, accumulation, mixup",
        "the same bits, for 0 and 2 workers before and after",
    ),
    12: Case("interrupted up to three times in an epoch; at its first and last step", "the same bits"),
    13: Case("a part of the state is left out", "each of them changes the result: the comparison would notice"),
    14: Case("a signal in the middle of accumulation", "saved at a step of the optimizer only; the same bits"),
    15: Case("resumed with another number of workers", "the same bits"),
    16: Case("resumed with another batch size, seed or config", "refused with both values; logging may change"),
    17: Case("there is nothing to resume", "a line says so; where resuming is a must, an error"),
    18: Case("the newest checkpoint is cut off, anywhere", "named, passed over, and the one before is taken"),
    19: Case("a bit of a checkpoint is flipped", "none is loaded in silence"),
    20: Case(
        "a malicious pickle where a checkpoint or weights are read",
        "nothing of it runs, and nothing falls back to unsafe loading",
    ),
    21: Case("random bytes, TorchScript, a tar of old as a checkpoint", "a clean error"),
    22: Case("two runs from the beginning, with 0 and 2 workers", "the same bits"),
    23: Case(
        "images that are empty, text, or cut off",
        "an error that names the file; where asked for, skipped, counted and named; never another image's label",
    ),
    24: Case("CMYK, grey, palette, alpha, turned, animated, 16 bits", "the pixels that the documentation promises"),
    25: Case("bombs of 110 and 400 megapixels", "refused, at less than 200 MB"),
    26: Case("images of 1x1 and 20000x1 pixels", "finite tensors of the right shape"),
    27: Case("an empty class, an empty data set, less than a batch", "an error before the model is built"),
    28: Case("training, validation and test differ in their classes", "an error that names the classes"),
    29: Case("labels out of range, negative, -100", "found at the start, with file, label and range"),
    30: Case("the head has another number of classes than the data", "an error with both numbers"),
    31: Case("the loss is NaN or infinite", "the run stops before the weights change, and names step and samples"),
    32: Case(
        "a worker is killed, or hangs", "an error within 5 s, or by the time limit that is there by default; saved"
    ),
    33: Case(
        "an image is missing; names with spaces, Unicode, line breaks",
        "path and line of the list are named; such names work",
    ),
    34: Case("a last batch of one, with batch norm; drop_last", "no crash; as many batches as the formula says"),
    35: Case("archives with ../, absolute names, links, bombs", "nothing is written outside; refused"),
    36: Case(
        "a download is interrupted, has another SHA-256, is a web page",
        "refused and named; the next run ends with the right file",
    ),
    37: Case(
        "fine-tuning with another number of classes",
        "all but the head is loaded and listed; any other mismatch is an error",
    ),
    38: Case("a name that is not registered, or of a module", "the nearest names; nothing is imported"),
    39: Case("a misspelt key", "none is accepted, in a file or on the command line"),
    40: Case("a value of the wrong type", "its dotted path and what was expected, without a traceback"),
    41: Case("a config that inherits itself", "the cycle is shown"),
    42: Case("the config in a checkpoint", "read as data, never executed"),
    43: Case("one of two ranks is killed", "the other ends within 30 s; the checkpoint is whole"),
    44: Case("one rank gets SIGTERM", "all save the same step"),
    45: Case(
        "evaluation on 1, 2 and 3 ranks, of a number that does not divide",
        "the same metrics to the last digit, each sample once",
    ),
}
