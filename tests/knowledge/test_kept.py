"""What is worked out once for a knowledge base."""

from __future__ import annotations

import msgspec

from cds_service.knowledge.kept import MOST, Kept


def test_it_is_made_once_for_each_and_never_that_of_another(knowledge):
    made: list[str] = []

    def make(base):
        made.append(base.version)
        return object()

    kept = Kept(make)
    other = msgspec.structs.replace(knowledge, version="other")
    first, second = kept.of(knowledge), kept.of(other)
    assert first is not second
    assert (kept.of(knowledge), kept.of(other)) == (first, second)
    assert made == [knowledge.version, "other"]


def test_it_does_not_grow_without_bound(knowledge):
    kept = Kept(lambda base: base.version)
    for number in range(3 * MOST):
        version = str(number)
        assert kept.of(msgspec.structs.replace(knowledge, version=version)) == version
    assert len(kept._made) <= MOST
