# Stratiome: multi-omics subgroups, prognosis and treatment response.
# The entry; the workflow itself is in workflow/Snakefile, and many of it at once in workflow/sweep.smk.
if "sweep" in config:

    include: "workflow/sweep.smk"

else:

    include: "workflow/Snakefile"


workflow.default_target = "all"
