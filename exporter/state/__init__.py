"""What survives a restart: the ledger, which all processes of the machine share, and the history, the daemon's alone.

Rule 1: what is in memory is always usable. A file that cannot be locked, read or written costs what it is for, never a
session; it is tried again, and said once.
Rule 2: nothing here waits long, and the event loop for no disk: the ledger's lines are short, the history is written by
a thread.
Rule 3: what is read is believed or skipped, whole; only a file that is ours, or empty, is written to.

`ledger_file` the ledger and its journal · `history_file` when the history is read and written · `database` how: SQLite,
loaded by who keeps a history (so not from here) · `errors` what an error of
the operating system means.
"""

from exporter.state.ledger_file import LedgerFile

__all__ = ["LedgerFile"]
