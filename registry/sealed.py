"""Files of torch.save that carry their own SHA-256, so that a copy or a link of one does too.

torch.load checks nothing: one changed bit in a file gives other weights, and no error. The hash stands in the comment
that a zip archive may end with, behind the end of its central directory (PKWARE's APPNOTE.TXT, section 4.3.16); it is
over every byte before it. torch and zipfile read such a file as any other, also one above 4 GB: what zip64 adds stands
before that end, not behind it.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

MARK = b"knoll sha256 "
COMMENT = len(MARK) + 64
# The end of the central directory: a signature, counts and offsets, and as its last two bytes the comment's length.
END, END_SIGNATURE = 22, b"PK\x05\x06"
_BLOCK = 1 << 20


class SealingWriter:
    """A file that torch.save can write to; `seal` ends it with the hash of all that was written.

    Attributes:
        size: bytes written so far.
        error: what the file system answered when it took no more; torch raises an error of its own in its place.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._held = b""  # the last bytes so far: the comment's length is written into them
        self.size = 0
        self.error: OSError | None = None

    def write(self, data: bytes | memoryview) -> int:
        view = memoryview(data).cast("B")
        cut = max(0, len(self._held) + min(len(view), END) - END)
        self._pass_on(self._held[:cut])
        self._pass_on(view[:-END])
        self._held = self._held[cut:] + bytes(view[-END:])
        self.size += len(view)
        return len(view)

    def flush(self) -> None: ...  # torch.save asks for it; whoever opened the file flushes it

    def seal(self) -> None:
        if not self._held.startswith(END_SIGNATURE) or not self._held.endswith(b"\0\0"):
            raise RuntimeError("what torch.save wrote does not end as a zip archive without a comment does")
        self._pass_on(self._held[:-2] + COMMENT.to_bytes(2, "little"))
        comment = MARK + self._digest.hexdigest().encode()
        self._file.write(comment)
        self.size += len(comment)

    def _pass_on(self, data: bytes | memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            self.error = error
            raise
        self._digest.update(data)


def verify(file: BinaryIO) -> bool:
    """Whether a file carries its SHA-256. Reads all of it if so, and leaves it at its beginning.

    Raises:
        ValueError: it does, and is not what it was.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - COMMENT - END))
    end = file.read()
    announced = end.startswith(END_SIGNATURE) and end[END - 2 : END] == COMMENT.to_bytes(2, "little")
    comment = end[END:]
    file.seek(0)
    if not announced and not comment.startswith(MARK):
        return False
    digest, left = hashlib.sha256(), size - COMMENT
    while left:
        block = file.read(min(left, _BLOCK))
        digest.update(block)
        left -= len(block)
    file.seek(0)
    if not announced or comment != MARK + digest.hexdigest().encode():
        raise ValueError("it is damaged: its SHA-256 is not the one that it carries")
    return True
