"""Clinical cases as data: one short YAML a case, and two roads that must lead to what it expects.

    reading   YAML file -> `Case`            facts     what a case may say
    build     `Case` -> FHIR R4 resources    request   resources -> hook request
    run       request -> cards, directly and over HTTP
    judge     cards against expectations     bundles   resources -> files for a FHIR server

The tests run `tests/scenarios/`, the command line `examples/patients.yaml`.
"""
