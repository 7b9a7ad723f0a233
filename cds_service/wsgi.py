"""What a WSGI server imports in each of its workers: `cds_service.wsgi:app`.

Settings and knowledge are read at import and the database is looked at, so a worker that answers is ready. What
fetches from a FHIR server is loaded beside the first calls: it takes longer than all else, and few calls need it.
At the end of the process what waits for the database is written.
"""

from __future__ import annotations

import os
import threading
from multiprocessing.util import Finalize

from cds_service.app import create_app, settle_memory
from cds_service.feedback.store import open_store
from cds_service.fhir.client import load_transport
from cds_service.fhir.hosts import can_fetch
from cds_service.metrics import tally_of
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import load

settings = load(os.environ)
store = open_store(settings)
app = create_app(settings, tally=tally_of(os.environ), store=store, tools=TOOLS)
# Unlike atexit, it is called in processes that a server has forked, too.
Finalize(None, store.close, exitpriority=1)
settle_memory()
if can_fetch(settings):
    threading.Thread(target=load_transport, daemon=True).start()
