# Stratiome: multi-omics subgroups, prognosis and treatment response.
# The entry; the workflow itself is in workflow/Snakefile.
include: "workflow/Snakefile"


workflow.default_target = "all"
