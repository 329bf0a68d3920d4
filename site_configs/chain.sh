#!/bin/sh
# Submit one job script several times, each to begin when the one before it has ended, whatever became of that.
#
#   chain.sh N SCRIPT [OPTION...]     with options of sbatch, or of qsub where the script has #PBS lines
#
# For searches that are longer than a job: a script whose search has --resume begins it in the first job, goes on with
# it in the others, and ends at once in those that find nothing left to do. For example, with Slurm:
#
#   #!/bin/bash
#   #SBATCH --nodes=2 --ntasks-per-node=1 --exclusive --time=02:00:00
#   dhflow search problem.py --history h.h5 --resume --max-trials 1000 --site inside_job --site-set gpus_per_node=4
#
# The site inside_job asks Slurm or PBS for the job's end, and the search stops a minute before it.
set -eu
if [ $# -lt 2 ] || ! [ "$1" -ge 1 ] 2>/dev/null || ! [ -r "$2" ]; then
    echo "usage: $0 N SCRIPT [OPTION...]" >&2
    exit 2
fi
n=$1 script=$2 job=
shift 2
i=0
while [ "$i" -lt "$n" ]; do
    if grep -q '^#PBS' "$script"; then
        job=$(qsub ${job:+-W depend=afterany:$job} "$@" "$script")
    else
        job=$(sbatch --parsable ${job:+--dependency=afterany:$job} "$@" "$script")
        job=${job%%;*} # with several clusters sbatch names the cluster, too
    fi
    echo "$job"
    i=$((i + 1))
done
