"""Backup mode: a cabinet that hears nothing for too long runs its own plan (NTCIP 1202 unitBackupTime)."""

from __future__ import annotations

from .ring import NONE
from .signals import NO_COMMANDS, Commands


class BackupTimer:
    """Keeps the last orders written to a cabinet, and drops them all when they are not renewed.

    Parameters
    ----------
    backup_ds : time after the last write at which the orders are dropped; 0: never. [0.1 s]
    """

    def __init__(self, backup_ds: int) -> None:
        self._backup_ds = backup_ds
        self._written_ds = NONE
        self._commands = NO_COMMANDS

    def write(self, now_ds: int, commands: Commands) -> None:
        """Take new orders; writing the same ones again renews them."""
        self._written_ds, self._commands = now_ds, commands

    def is_in_backup(self, now_ds: int) -> bool:
        """Tell whether the cabinet is on its own: nobody wrote yet, or not for the backup time."""
        if self._written_ds == NONE:
            return True
        return bool(self._backup_ds) and now_ds >= self._written_ds + self._backup_ds

    def orders(self, now_ds: int) -> Commands:
        """Return the orders in force at this moment; none in backup."""
        return NO_COMMANDS if self.is_in_backup(now_ds) else self._commands
