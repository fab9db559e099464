"""What the node tells its subscribers' side of: how far the chain is on the disk, and that a checkpoint was kept.

The node calls `committed` and `written` on its loop once the rows are synced, and waits for nobody: whoever listens is
told that something moved, and reads it out of the store in its own time.
"""

from __future__ import annotations

from collections.abc import Callable

Listener = Callable[[], None]


class Feed:
    """How far subscribers may be told of the chain. Owned by the node's loop, as are its listeners."""

    def __init__(self, height: int) -> None:
        """Begin at the height that the store had on the disk when it was opened."""
        self.height = height
        """The newest block that is committed and synced."""
        self.reconciled = 0
        """The newest block that the index of reconciliation has followed: subscribers to it are told no further."""
        self.checkpoints = 0
        """How many checkpoints were kept since the start."""
        self._checkpoint_comes = False
        self._listeners: list[Listener] = []

    def committed(self, height: int) -> None:
        """Let subscribers know of the blocks up to this one, whose rows are synced."""
        if height > self.height:
            self.height = height
            self._tell()

    def reconciled_to(self, height: int) -> None:
        """Let subscribers know of how payments stand up to this block."""
        if height > self.reconciled:
            self.reconciled = height
            self._tell()

    def checkpoint_comes(self) -> None:
        """Note that the rows of a checkpoint will be in the next write."""
        self._checkpoint_comes = True

    def written(self) -> None:
        """Let subscribers know of the checkpoint that was noted before, if there is one: all rows are written."""
        if self._checkpoint_comes:
            self._checkpoint_comes = False
            self.checkpoint_kept()

    def checkpoint_kept(self) -> None:
        """Let subscribers know that a checkpoint, maybe the same one cosigned again, is in the store."""
        self.checkpoints += 1
        self._tell()

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Call a listener, which must return at once, when something moved; return what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
