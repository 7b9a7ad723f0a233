"""Addresses that FHIR resources name: code systems (FHIR R4, external code systems), extensions of Patient."""

LOINC = "http://loinc.org"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
ATC = "http://www.whocc.no/atc"
SNOMED = "http://snomed.info/sct"
UCUM = "http://unitsofmeasure.org"
ICD10_CM = "http://hl7.org/fhir/sid/icd-10-cm"
ICD10 = (ICD10_CM, "http://hl7.org/fhir/sid/icd-10")
"""Both: the clinical modification of the United States and the one of the WHO."""

SEX_PARAMETER = "http://hl7.org/fhir/StructureDefinition/patient-sexParameterForClinicalUse"
SEX_PARAMETERS = "http://terminology.hl7.org/CodeSystem/sex-parameter-for-clinical-use"
BIRTH_SEX = "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex"
GENDER_IDENTITY = (
    "http://hl7.org/fhir/StructureDefinition/individual-genderIdentity",
    "http://hl7.org/fhir/StructureDefinition/patient-genderIdentity",
    "http://hl7.org/fhir/us/core/StructureDefinition/us-core-genderIdentity",
)
"""The extension of FHIR, its older name, and the one of US Core."""
