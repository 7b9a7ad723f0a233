"""Addresses of the code systems that FHIR resources name (FHIR R4, Terminology: external code systems)."""

LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ICD10_CM = "http://hl7.org/fhir/sid/icd-10-cm"
ICD10 = (ICD10_CM, "http://hl7.org/fhir/sid/icd-10")
"""Both: the clinical modification of the United States and the one of the WHO."""
