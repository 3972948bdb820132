#!/usr/bin/env bash
# Stop what up.sh started, by the process ids it noted, and remove its folder unless KEEP=1.
set -uo pipefail

STATE=${STATE:?the folder that up.sh was given}
export SLURM_CONF=$STATE/slurm.conf

alive() { # number, name of the program: the number may be another's by now; a zombie has ended
    local state
    [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ] || return 1
    state=$(sed 's/.*) \(.\).*/\1/' "/proc/$1/stat" 2>/dev/null) && [ "${state:-Z}" != Z ]
}
stop() { # name of the program, names of its notes: all of them at once
    local program=$1 note pid pids=()
    shift
    for note; do
        pid=$(cat "$STATE/pid/$note" 2>/dev/null) && alive "$pid" "$program" && kill "$pid" && pids+=("$pid")
        rm -f "$STATE/pid/$note"
    done
    for pid in "${pids[@]}"; do
        for ((i = 0; i < 200; i++)); do
            alive "$pid" "$program" || break
            sleep 0.05
        done
        alive "$pid" "$program" && kill -9 "$pid"
    done
}
jobs_left() { [ -n "$(squeue -h -t running,completing -o %i 2>/dev/null)" ]; }

if [ -s "$STATE/pid/slurmctld" ]; then
    scancel --quiet --user="$(id -un)" 2>/dev/null
    for ((i = 0; i < 400; i++)); do jobs_left || break; sleep 0.05; done # KillWait, and a little
fi
nodes=("$STATE"/pid/slurmd-*)
stop slurmd "${nodes[@]##*/}"
stop slurmctld slurmctld
stop slurmdbd slurmdbd
stop mariadbd mariadbd
stop munged munged
[ "${KEEP:-0}" = 1 ] || rm -rf "$STATE"
exit 0
