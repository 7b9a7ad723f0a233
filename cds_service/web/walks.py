"""What users of the workbench do on days that are not today: kept in memory, apart from the records of the service.

A report on cards shall not count a walk through time, and nothing dated in the future shall wait in the database.
So each sitting has a store of its own. It remembers what the service remembers, and what was done on the walk.
"""

from __future__ import annotations

import threading
from collections import OrderedDict

from cds_service.feedback.store import Store, memory

MOST = 8
"""Sittings that are remembered; the one that was longest without a call goes first."""


class Walks:
    """The stores of the last sittings of this process. Safe to use from several threads."""

    def __init__(self, base: Store) -> None:
        """`base`: the store of the service."""
        self._base = base
        self._lock = threading.Lock()
        self._stores: OrderedDict[str, Store] = OrderedDict()

    def of(self, sitting: str) -> Store:
        """The store of a sitting, made when it is first asked for."""
        with self._lock:
            if sitting not in self._stores:
                self._stores[sitting] = memory(beside=self._base)
            self._stores.move_to_end(sitting)
            found = self._stores[sitting]
            gone = [self._stores.popitem(last=False)[1] for _ in range(len(self._stores) - MOST)]
        for store in gone:
            store.close()
        return found
