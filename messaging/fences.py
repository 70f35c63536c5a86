"""Fences: they separate the records of a partition's owner from late ones of its former owners.

A gateway that gains a partition publishes a fence to it, and serves its users once it has read that fence. Its epoch is
the offset after the fence, and each of its records of truth has it. A record of truth with a lower epoch that follows
the fence was late: its sender got no Accepted for it and sends it again to the owner, so every consumer drops it.
Whether a fence counts follows from the log alone, not from a clock, so that all consumers decide alike.
"""

from rookery.v1.backplane_pb2 import Fence


class Fences:
    """The fences of one partition, as far as one consumer has read it."""

    def __init__(self, start: int, epoch: int = 0) -> None:
        """A consumer begins to read at offset `start`, where this epoch was in force; 0: it is not known."""
        self.epoch = epoch if epoch <= start else 0  # no epoch of this log is higher
        """The epoch in force; 0 until it is known."""
        self._unread = 0 if self.epoch else start  # the end of the records whose fences are not known

    def read(self, offset: int, fence: Fence) -> bool:
        """Read the fence at this offset. Return whether it counts: its gateway has read all fences before it."""
        if fence.read_up_to < max(self.epoch, self._unread):
            return False
        self.epoch = offset + 1
        return True

    def admits(self, epoch: int) -> bool:
        """Read a record of truth. Return whether it counts: its epoch is not lower than the one in force. 0: it is of a
        release without fences, and counts."""
        if epoch <= self.epoch:
            return epoch in (self.epoch, 0)
        self.epoch = epoch  # its fence is not read yet: the owner publishes nothing before its fence is in force
        return True
