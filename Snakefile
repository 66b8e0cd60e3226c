# The study on one page: what is missing is planned, then built stage by stage.
#   snakemake                        everything that params.yaml asks for (cores: all)
#   snakemake stage_train            up to one stage;  -n shows what would run
#   snakemake --profile workflow/profiles/slurm      the same on a cluster
import os
import sys
from pathlib import Path

SOURCE = str(Path(workflow.basedir) / "src")
sys.path.insert(0, SOURCE)

from palimpsest import progress
from palimpsest.faults import Fault, of_system
from palimpsest.schedule import Written, schedule, use_source

try:
    use_source(SOURCE)
    progress.announce(quiet=False)
    progress.hush_snakemake()
    S = (
        schedule(
            config.get("params", "params.yaml"),
            by=config.get("batches", "cores"),
            cores=workflow.cores or 1,
            nodes=config.get("nodes"),
        )
        if workflow.is_main_process
        else Written()
    )
except (Fault, OSError) as fault:
    told = fault if isinstance(fault, Fault) else of_system(fault)
    print(f"error: {told or repr(fault)}", file=sys.stderr)
    sys.exit(2)


report: "workflow/report/workflow.rst"


onstart:
    if workflow.is_main_process:
        try:
            S.begin()
        except Fault as fault:
            print(f"error: {fault}", file=sys.stderr)
            os._exit(2)  # before any job; an exception would be reported as a bug in this line


wildcard_constraints:
    batch="[0-9a-f]+",
    key="[0-9a-f]+",
    surplus="[0-9a-f]+",


localrules:
    all,
    index,
    tidy,
    results,


rule all:
    default_target: True
    input:
        S.everything(),


for stage in S.order:

    rule:
        name:
            f"stage_{stage}"
        input:
            S.target(stage),


# The way of the data.
include: "workflow/rules/corpora.smk"
include: "workflow/rules/tokens.smk"
include: "workflow/rules/bases.smk"
include: "workflow/rules/probes.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/recall.smk"
include: "workflow/rules/evals.smk"
include: "workflow/rules/tables.smk"
include: "workflow/rules/fits.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/index.smk"
