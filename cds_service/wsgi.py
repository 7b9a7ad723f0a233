"""What a WSGI server imports in each of its workers: `cds_service.wsgi:app`.

Settings and knowledge are read at import and the database is looked at, so a worker that answers is ready. What
fetches from a FHIR server is loaded beside the first calls: it takes longer than all else, and few calls need it.
At the end of the process what waits for the database is written.
"""

from __future__ import annotations

import gc
import os
import threading
from multiprocessing.util import Finalize

from cds_service.app import create_app
from cds_service.feedback.store import open_store
from cds_service.fhir.client import load_transport
from cds_service.fhir.hosts import can_fetch
from cds_service.metrics import tally_of
from cds_service.scenarios.workbench import TOOLS
from cds_service.settings import load


def settle_memory() -> None:
    """Take what start-up has built out of the garbage collector's sight, and let it run seldom.

    A call makes few objects that point at each other; with the default thresholds the collector would look
    through the whole knowledge again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


settings = load(os.environ)
store = open_store(settings)
app = create_app(settings, tally=tally_of(os.environ), store=store, tools=TOOLS)
Finalize(
    None, store.close, exitpriority=1
)  # unlike atexit, it is called in processes that a server has forked, too
settle_memory()
if can_fetch(settings):
    threading.Thread(target=load_transport, daemon=True).start()
