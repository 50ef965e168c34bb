"""Names of files and columns that more than one part must agree on."""

FEWEST_ALIGNED = 50
"""Patients with an omic below which its distribution is not taken for that of the cohort."""
CARD = "bundle.json"
"""The file of a bundle that lists all others."""
NAME_COLUMNS = ("feature", "bundle")
"""Columns of a table of names: as a cohort has it, and as the bundle has it."""
ADDRESS = "s3://"
"""How the address of a folder on object storage begins."""
