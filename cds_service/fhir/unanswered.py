"""Why something did not come from the EHR's FHIR server."""

from __future__ import annotations

from cds_service.chart import GapKind


class Unanswered(Exception):  # noqa: N818 - no error of ours
    """Nothing came that can be used. `kind` is that of the gap which stays, `detail` a few words of ours."""

    def __init__(self, kind: GapKind, detail: str) -> None:
        super().__init__(kind)
        self.kind: GapKind = kind
        self.detail = detail


def not_in_time() -> Unanswered:
    """A new one each time: one that was raised holds on to the call that it ended, and so to its token."""
    return Unanswered("timed_out", "no answer in time")
