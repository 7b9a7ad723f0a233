"""The store that `create_app` is given: what the service keeps of calls and feedback, and what it remembers.

    open_store(settings)   the site's database, whose tables must be those of this version
    memory()               a database that ends with the process

Whatever happens to the database, calls are answered: what cannot be read is not remembered, which can only mean
more cards, and what cannot be written waits. Only feedback is refused then, so that the EHR sends it again.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from functools import cache, partial

from sqlalchemy import Engine

from cds_service.feedback.database import check, connect, create, patient_key
from cds_service.feedback.errors import UnreachableError
from cds_service.feedback.hashes import patient_hash
from cds_service.feedback.records import Recorder
from cds_service.settings import Settings


class Store:
    """One database, its key, and the list of what is still to be written. Safe to use from several threads."""

    def __init__(self, engine: Engine, key: str = "") -> None:
        """`key` '': the one that was made with the tables. Nothing is opened yet."""
        self.engine = engine
        self.key = cache(partial(patient_key, engine, key))
        """Gives the key of the hashes. Raises DatabaseError if it is kept in the database and cannot be read."""
        self.recorder = Recorder(engine, self.key)
        self.close = weakref.finalize(self, _close, self.recorder, engine)
        """Write what waits and leave the database; happens by itself at the end of the process."""

    def patient(self, client: str, fhir_server: str, patient_id: str) -> str:
        """What stands for the patient in the rows. Raises DatabaseError as `key` does."""
        return patient_hash(self.key(), client, fhir_server, patient_id)


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


def memory() -> Store:
    """A store whose database lives in memory, for trying out and for tests."""
    engine = connect("sqlite://")
    create(engine)
    return Store(engine)
