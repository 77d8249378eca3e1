"""What survives a restart: the ledger, which all processes of the machine share, and the history, the daemon's alone.

Rule 1: the state in memory is always usable. A file that cannot be locked, read or written never costs a session; the
failure is reported once, and the file is tried again.
Rule 2: nothing here waits long: the ledger's lines are short, and a thread writes the history.
Rule 3: a line or row is accepted or skipped as a whole; only a file of the exporter, or an empty one, is written to.

`ledger_file` the ledger and its journal · `history_file` when the history is read and written · `database` its SQLite
file, imported only where a history is kept · `errors` texts for errors of the operating system.
"""

from exporter.state.ledger_file import LedgerFile

__all__ = ["LedgerFile"]
