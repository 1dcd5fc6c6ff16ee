"""Whether an interrupted run ends with the bits of an uninterrupted one: both are run for a few steps and compared."""

from .verify import Report, verify

__all__ = ["Report", "verify"]
