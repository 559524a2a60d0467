"""The audit: all licenses and prints rebuilt from a node alone, and compared with what else is known.

`rebuild` reads the events of the contracts (in verified mode) and replays them, `checks` compares the outcome
with the contracts' own reads, `portal` with a portal's database, `files` with files; `report` says what was
found. What the contracts can't have done is a `Contradiction`.
"""

from imprimatur.audit.contradiction import Contradiction
from imprimatur.audit.history import Copy, LicenseHistory
from imprimatur.audit.rebuild import Rebuilt, rebuild
from imprimatur.audit.replay import Replay

__all__ = ["Contradiction", "Copy", "LicenseHistory", "Rebuilt", "Replay", "rebuild"]
