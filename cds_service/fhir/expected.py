"""What a prefetch key was asked to bring. The wire builds these at start-up from the knowledge."""

from __future__ import annotations

import msgspec


class Expected(msgspec.Struct, frozen=True):
    """One prefetch key.

    `covers` names what is unknown when the key brings nothing: marker keys, or one of `patient`,
    `medications`, `conditions`, `procedures`, `orders`.
    """

    key: str
    template: str
    types: frozenset[str]
    """FHIR resource types that belong under this key."""
    covers: frozenset[str]
    newest_first: bool = False
    """True if the template asks for descending dates, so that a truncated list is complete down to its end."""
