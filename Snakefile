# Stratiome: multi-omics subgroups, prognosis and treatment response.
# The entry; the workflow itself is in workflow/Snakefile, and many of it at once in workflow/sweep.smk.


include: "workflow/told.smk"


asked_before = workflow.default_target  # by a workflow that uses this one as a module

if "sweep" in config:

    include: "workflow/sweep.smk"

else:

    include: "workflow/Snakefile"


if workflow.modifier.is_main_snakefile():
    workflow.default_target = "all"
    say_unknown_rules()
else:
    workflow.default_target = asked_before or workflow.modifier.modify_rulename("all")
