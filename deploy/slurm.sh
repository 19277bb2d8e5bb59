#!/usr/bin/env bash
#SBATCH --job-name=seedbed
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --output=seedbed-%j.log
#
# A suite on the nodes of a Slurm job: a Ray head on the first, workers on the others, then `seedbed run`.
#
#   sbatch [--nodes=4 --gpus-per-node=2 --time=… any of sbatch's options] deploy/slurm.sh SUITE STORE [options of run …]
#
# STORE is a folder that all nodes mount at the same absolute path, or a URL. seedbed and ray must be on PATH on every
# node: activate the environment before sbatch, or name it: SEEDBED_VENV=/shared/venv. Further variables:
#   SEEDBED_HEAD_IP   address of the first node that the others reach; default: the first that `hostname -I` names
#   SEEDBED_JOIN_S    seconds to wait for all nodes; default 300
#   SEEDBED_ANYWAY=1  run even where `seedbed doctor --cluster` finds errors
# The exit code is that of `seedbed run` (2: bad usage). Submitted again, a job continues where the last one was.
set -euo pipefail

fail() {
    echo "slurm.sh: $1" >&2
    exit "${2:-2}"
}

check_arguments() {
    (($# >= 2)) || fail "found $# arguments; expected SUITE STORE [options of seedbed run]"
    suite=$1 store=$2
    [[ $suite != -* ]] || fail "found '$suite' as the suite; expected a ready suite's name or a YAML file"
    [[ $store == /* || $store == *://* ]] || fail "found '$store' as the store; expected an absolute path, or a URL"
    [[ $suite != *.yaml || -r $suite ]] || fail "found no readable '$suite'; expected a suite"
    [[ $store == *://* ]] || mkdir -p -- "$store" 2>/dev/null || fail "'$store' cannot be made; expected a shared folder"
    local option
    for option in "${@:3}"; do
        case $option in
            --address | --address=* | --store | --store=*) fail "found $option; expected none: this script gives it" ;;
        esac
    done
    [[ -n ${SLURM_JOB_ID:-} && -n ${SLURM_JOB_NODELIST:-} ]] || fail "found no Slurm job; expected 'sbatch $0 …'"
    [[ ${SEEDBED_JOIN_S:-300} =~ ^[1-9][0-9]*$ ]] || fail "found SEEDBED_JOIN_S=$SEEDBED_JOIN_S; expected whole seconds"
    [[ -z ${SEEDBED_VENV:-} ]] || export PATH="$SEEDBED_VENV/bin:$PATH"
    local program
    for program in scontrol srun python ray seedbed; do
        command -v "$program" >/dev/null || fail "found no '$program' on PATH; activate Seedbed's environment"
    done
}

# Whatever ends this script ends Ray on all nodes.
# shellcheck disable=SC2329  # called by a trap
cleanup() {
    local code=$?
    trap - EXIT
    trap '' TERM INT HUP
    ((${#steps[@]} == 0)) || kill -TERM "${steps[@]}" 2>/dev/null || true
    wait || true
    exit "$code"
}

# Five minutes before the time is over, or by scancel: the run finishes what it can, and says how to go on.
# shellcheck disable=SC2329  # called by a trap
stop() {
    trap '' TERM INT
    stopped=1
    kill -TERM "$run" 2>/dev/null || true
}

# What a node's shell does: Ray with all cores of the step (OMP_NUM_THREADS would stand in nproc's way), until it is told
# to end; `ray start --block` then ends its processes, and the session's folder goes.
# shellcheck disable=SC2016  # for the node's shell
on_the_node='
session=$1
shift
ray start --block --num-cpus="$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc)" --temp-dir="$session" "$@" &
trap "kill -TERM $! 2>/dev/null" TERM INT HUP
wait $!
code=$?
trap "" TERM INT HUP
wait
rm -rf -- "$session"
exit $code
'

on_node() {
    local node=$1
    shift
    srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap --export=ALL \
        ${SLURM_CPUS_PER_TASK:+--cpus-per-task="$SLURM_CPUS_PER_TASK"} \
        bash -c "$on_the_node" seedbed-node "$session" "$@" &
    steps+=($!)
}

joined() {
    python - "$address" <<'PYTHON' 2>/dev/null || echo 0
import sys

import ray

ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print(sum(node["Alive"] for node in ray.nodes()))
PYTHON
}

wait_for() {
    local wanted=$1 until=$((SECONDS + ${SEEDBED_JOIN_S:-300})) found=0 step
    while ((found < wanted)); do
        for step in "${steps[@]}"; do
            kill -0 "$step" 2>/dev/null || fail "a node ended before all had joined; its reason stands above" 1
        done
        ((SECONDS < until)) || fail "$found of $wanted nodes joined within ${SEEDBED_JOIN_S:-300} s" 1
        sleep 0.5
        found=$(port_is_open && joined || echo 0)
    done
}

# Asked first, since Ray itself would look for a minute for a head that is not there yet.
port_is_open() {
    (: >"/dev/tcp/${address%:*}/${address##*:}") 2>/dev/null
}

main() {
    steps=() suite="" store="" session="" run="" stopped="" address=""
    check_arguments "$@"
    trap cleanup EXIT
    trap 'exit 143' TERM INT HUP
    mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
    ((${#nodes[@]} > 0)) || fail "scontrol names no node for '$SLURM_JOB_NODELIST'" 1

    # A token of this job alone: on a machine of many users an open Ray runs anybody's code as you.
    RAY_AUTH_TOKEN=$(python -c 'import secrets; print(secrets.token_hex(32))')
    export RAY_AUTH_TOKEN RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
    # A folder and a port of this job alone: /tmp/ray belongs to whoever came first.
    session=/tmp/seedbed-$SLURM_JOB_ID
    local head_ip
    head_ip=${SEEDBED_HEAD_IP:-$(hostname -I | cut -d' ' -f1)}
    address=$head_ip:$((20000 + SLURM_JOB_ID % 10000))

    on_node "${nodes[0]}" --head --node-ip-address="$head_ip" --port="${address##*:}" --include-dashboard=false
    wait_for 1
    local node
    for node in "${nodes[@]:1}"; do
        on_node "$node" --address="$address"
    done
    wait_for "${#nodes[@]}"
    echo "slurm.sh: ${#nodes[@]} nodes joined at $address" >&2

    if ! seedbed doctor --cluster --address "$address" --store "$store" && [[ -z ${SEEDBED_ANYWAY:-} ]]; then
        fail "doctor found errors (above); SEEDBED_ANYWAY=1 runs all the same" 1
    fi
    seedbed run "$suite" --address "$address" --store "$store" "${@:3}" &
    run=$!
    trap stop TERM INT
    local code=0
    wait "$run" || code=$?
    if [[ -n $stopped ]]; then  # the signal ended `wait`, not the run
        code=0
        wait "$run" || code=$?
    fi
    exit "$code"
}

main "$@"
