"""What a WSGI server imports in each of its workers: `cds_service.wsgi:app`.

Settings and knowledge are read at import and the database is looked at, so a worker that answers is ready. What
fetches from a FHIR server is loaded a moment after the first calls: it takes longer than all else, few calls need
it, and beside them it would take half of the interpreter's time. At the end of the process what waits for the
database is written.

An answer leaves as one list: the server then writes head and body in one piece, where an iterator's would follow
its head later, so that a worker that is killed leaves an answer out rather than half of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from multiprocessing.util import Finalize
from typing import TYPE_CHECKING

from cds_service.app import create_app, settle_memory
from cds_service.feedback.store import open_store
from cds_service.fhir.client import load_transport
from cds_service.fhir.hosts import can_fetch
from cds_service.metrics import tally_of
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import load

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

PAUSE_SECONDS = 0.5
"""Until what fetches is loaded; a call that needs it sooner loads it itself."""


def whole(application: WSGIApplication) -> WSGIApplication:
    """`application` with each answer as a list of all its parts."""

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        parts = application(environ, start_response)
        try:
            return list(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()

    return call


settings = load(os.environ)
store = open_store(settings)
app = whole(create_app(settings, tally=tally_of(os.environ), store=store, tools=TOOLS))
# Unlike atexit, it is called in processes that a server has forked, too.
Finalize(None, store.close, exitpriority=1)
settle_memory()
if can_fetch(settings):
    later = threading.Timer(PAUSE_SECONDS, load_transport)
    later.daemon = True
    later.start()
