"""The store that `create_app` is given: what the service keeps of calls and feedback, and what it remembers.

    open_store(settings)   the site's database, whose tables must be those of this version
    memory()               a database that ends with the process

Whatever happens to the database, calls are answered: what cannot be read is not remembered, which can only mean
more cards, and what cannot be written waits. Only feedback is refused then, so that the EHR sends it again.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from datetime import date, tzinfo
from functools import cache, partial
from time import sleep

from sqlalchemy import Engine

from cds_service.chart import Chart, Past
from cds_service.feedback.database import check, connect, create, patient_key
from cds_service.feedback.driver import Driver
from cds_service.feedback.errors import DatabaseError, UnreachableError
from cds_service.feedback.hashes import patient_hash
from cds_service.feedback.memory import Memory, Row, past_of
from cds_service.feedback.records import Recorder
from cds_service.knowledge.model import Knowledge
from cds_service.settings import Settings

RECALL_SECONDS = 1.0
"""How long a call waits for what is remembered; the next ones do without."""
PAUSE_SECONDS = 2.0
"""Between two attempts to reach a database that could not be read."""


class Store:
    """One database, its key, and the list of what is still to be written. Safe to use from several threads."""

    def __init__(self, engine: Engine, key: str = "", *, beside: Store | None = None) -> None:
        """`key` '': the one that was made with the tables. Nothing is opened yet.

        `beside`: a store whose key this one uses, and whose memory it has besides its own.
        """
        self.engine = engine
        self.beside = beside
        self.key: Callable[[], bytes] = beside.key if beside else cache(partial(patient_key, engine, key))
        """Gives the key of the hashes. Raises DatabaseError if it is kept in the database and cannot be read."""
        self.recorder = Recorder(engine, self.key)
        self.blind = False
        """True while the database cannot be read: nothing is remembered then."""
        self.driver = Driver(engine)
        """For the statements that each call makes; one, since each thread keeps a connection of it."""
        self._memory = Memory(self.driver)
        self.close = weakref.finalize(self, _close, self.recorder, engine)
        """Write what waits and leave the database; happens by itself at the end of the process."""

    def patient(self, client: str, fhir_server: str, patient_id: str) -> str:
        """What stands for the patient in the rows. Raises DatabaseError as `key` does."""
        return patient_hash(self.key(), client, fhir_server, patient_id)

    def past(self, patient: str, chart: Chart, knowledge: Knowledge, zone: tzinfo, as_of: date) -> Past:
        """What users did up to a day; nothing while the database cannot be read (one call waits for it)."""
        rows = self._rows(patient) + (self.beside._rows(patient) if self.beside else [])
        return past_of(rows, chart, knowledge, self.key(), zone, as_of) if rows else Past()

    def _rows(self, patient: str) -> list[Row]:
        if self.blind:
            return []
        try:
            return self._memory.recall(patient, RECALL_SECONDS)
        except DatabaseError:
            self.blind = True
            threading.Thread(target=self._look_again, name="store", daemon=True).start()
            return []

    def _look_again(self) -> None:
        while self.blind:
            sleep(PAUSE_SECONDS)
            with suppress(DatabaseError):
                check(self.engine)
                self.blind = False


def _close(recorder: Recorder, engine: Engine) -> None:
    recorder.close()
    engine.dispose()


def open_store(settings: Settings) -> Store:
    """The store of the site. Raises DatabaseError if the tables are not those of this version.

    A database that cannot be reached now may be back later, so that is no reason not to start a worker.
    """
    store = Store(connect(settings.database_url), settings.patient_key)
    with suppress(UnreachableError):
        check(store.engine)
    return store


def memory(beside: Store | None = None) -> Store:
    """A store whose database lives in memory, for trying out and for tests; `beside` as in `Store`."""
    engine = connect("sqlite://")
    create(engine)
    return Store(engine, beside=beside)
