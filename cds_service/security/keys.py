"""Where a client's keys come from: the configured file or address, and no other place.

    FileKeys   a JWK Set in a file, read anew when the file changes
    UrlKeys    one at an address, fetched anew every five minutes and for an unknown `kid`; in a thread of its own,
               so that an EHR whose server hangs holds up one call for two seconds every half minute

A source that fails leaves the keys that were there in use for an hour; after that nobody of that client gets in.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from cds_service.security.keyset import MOST_BYTES, Key, KeySet, KeySetError, read_keys
from cds_service.settings import Client

FRESH_SECONDS = 240
"""Older keys are fetched anew while they are in use: a busy service never waits for that."""
LIVE_SECONDS = 300
"""Older keys are used only if no newer ones can be had: so long may a key work that the EHR has withdrawn."""
STALE_SECONDS = 3600
"""Keys are not used when their source has failed for so long."""
COOL_DOWN_SECONDS = 30
"""Between two attempts after a failure, and between two for an unknown `kid`: callers must not make us a hammer."""
PATIENCE_SECONDS = 2
"""How long a call waits for keys."""
NEVER = -1e9
"""Long ago on any clock."""

Ticks = Callable[[], float]
"""Seconds on a clock that is never set."""
Report = Callable[[str], None]
"""Told, in words of ours, when a source fails."""


class FileKeys:
    """The keys in a file, as it is now. Safe to use from several threads."""

    def __init__(self, path: Path, report: Report, ticks: Ticks = time.monotonic) -> None:
        self._path = path
        self._report = report
        self._ticks = ticks
        self._lock = threading.Lock()
        self._keys: KeySet = {}
        self._seen: tuple[int, ...] | None = ()
        self._good = False
        self._good_at = self._retry_at = NEVER

    def find(self, kid: str) -> tuple[Key, ...] | None:
        """The keys of this `kid`, () if there are none; None if no keys can be had at all."""
        now = self._ticks()
        with self._lock:
            stamp = self._stamp()
            if stamp != self._seen or (not self._good and now >= self._retry_at):
                self._seen = stamp
                self._take(now)
            if self._good:
                self._good_at = now
        return None if now - self._good_at >= STALE_SECONDS else self._keys.get(kid, ())

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return (status.st_mtime_ns, status.st_size, status.st_ino)

    def _take(self, now: float) -> None:
        try:
            with self._path.open("rb") as file:
                self._keys = read_keys(file.read(MOST_BYTES + 1))
            self._good = True
        except (OSError, KeySetError) as error:
            self._good = False
            self._retry_at = now + COOL_DOWN_SECONDS
            self._report(_in_words(error))


class UrlKeys:
    """The keys at an address, as they were at most five minutes ago. Safe to use from several threads."""

    def __init__(self, url: str, report: Report, ticks: Ticks = time.monotonic, ca_file: str = "") -> None:
        """`ca_file`: certificates of the only authorities that may vouch for the server; '': the public ones."""
        self._url = url
        self._ca_file = ca_file
        self._report = report
        self._ticks = ticks
        self._lock = threading.Lock()
        self._keys: KeySet = {}
        self._fetched_at = self._retry_at = self._search_at = NEVER
        self._running: threading.Thread | None = None

    def find(self, kid: str) -> tuple[Key, ...] | None:
        """The keys of this `kid`, () if there are none; None if no keys can be had at all."""
        age = self._ticks() - self._fetched_at
        if age >= FRESH_SECONDS:
            self.fetch(wait=age >= LIVE_SECONDS)
        if kid not in self._keys and self._may_search():
            self.fetch(wait=True)
        if self._ticks() - self._fetched_at >= STALE_SECONDS:
            return None
        return self._keys.get(kid, ())

    def fetch(self, *, wait: bool) -> None:
        """Begin to fetch the keys, unless that is under way or has just failed; `wait`: for it to end, a while."""
        with self._lock:
            if self._running is None and self._ticks() >= self._retry_at:
                self._running = threading.Thread(target=self._take, name="keys", daemon=True)
                self._running.start()
            running = self._running
        if wait and running is not None:
            running.join(PATIENCE_SECONDS)

    def _may_search(self) -> bool:
        """True once in a while: an unknown `kid` may be that of a new key."""
        with self._lock:
            now = self._ticks()
            if now < self._search_at:
                return False
            self._search_at = now + COOL_DOWN_SECONDS
            return True

    def _take(self) -> None:
        try:
            from cds_service.security.download import download  # slow to load; keys in files need it not

            keys = read_keys(download(self._url, self._ca_file))
        except (OSError, ValueError) as error:  # a RequestException is an OSError
            self._retry_at = self._ticks() + COOL_DOWN_SECONDS
            self._report(_in_words(error))
        else:
            self._keys = keys
            self._fetched_at = self._ticks()
        finally:
            with self._lock:
                self._running = None


def _in_words(error: Exception) -> str:
    """What happened without an address or a text from elsewhere."""
    return str(error) if isinstance(error, KeySetError) else type(error).__name__


def make_keys(client: Client, report: Report) -> FileKeys | UrlKeys:
    """The keys of a configured client; those at an address begin to be fetched."""
    if client.jwks_file:
        return FileKeys(Path(client.jwks_file), report)
    keys = UrlKeys(client.jwks_url, report, ca_file=client.ca_file)
    keys.fetch(wait=False)
    return keys
