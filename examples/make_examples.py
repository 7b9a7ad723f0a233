"""Writes patients/ and requests/ anew from patients.yaml.

    python examples/make_examples.py                      for the day that patients.yaml names: the shipped files
    python examples/make_examples.py --as-of 2027-05-01   for another day (`today` works as well)
    python examples/make_examples.py --out DIR            somewhere else

The same as `cds-service examples`, but for its defaults.
"""

from __future__ import annotations

import sys

from cds_service.cli import run
from cds_service.scenarios.bundles import example_cases, examples_folder

if __name__ == "__main__":
    as_of = example_cases()[0].as_of.isoformat()
    sys.exit(run(["examples", "--as-of", as_of, "--out", str(examples_folder()), *sys.argv[1:]]))
