"""Codes by which FHIR says whether a record counts (FHIR R4; clinical reference 2.2, 2.4, 4.1.1).

For whoever reads charts, and for the export that says the same in FHIRPath, which keeps their order.
"""

ORDERS = ("order", "original-order", "reflex-order", "filler-order", "instance-order")
"""Intents that are orders; the others are wishes."""
GOES_ON = ("active", "on-hold")
"""Statuses of a prescription or statement that say that the therapy goes on."""
PAST = ("inactive", "remission", "resolved")
"""Clinical statuses of a diagnosis that is over."""
RULED_OUT = ("refuted", "entered-in-error")
"""Verification statuses of a diagnosis that never was."""
DONE = ("completed", "in-progress")
"""Statuses of a procedure that was done or is going on."""
USABLE = ("final", "amended", "corrected")
"""Statuses of a result that can be compared and shows that the test was done."""
