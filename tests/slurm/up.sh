#!/usr/bin/env bash
# Start a real Slurm on this machine for tests: controller, virtual nodes and munge from Debian's
# packages, as root, without systemd and cgroups. Everything it writes lies in one folder; nothing
# under /etc is touched. Stop it with down.sh. Commands find it by SLURM_CONF=$STATE/slurm.conf.
#
#   STATE=DIR up.sh        DIR must be reachable by all users (mode 755)
#   NODES=3                virtual nodes n0, n1, ...: one slurmd each; the last one is in a partition
#                          of its own, `fragile`
#   CPUS=4                 processors that each node claims to have
#   ACCOUNTING=1           slurmdbd and MariaDB (a Unix socket only) too, so that sacct works
#   INSTALL=0              never install packages: end with 3 where some are missing
set -euo pipefail

STATE=${STATE:?the folder for configuration, state and logs}
NODES=${NODES:-3} CPUS=${CPUS:-4} ACCOUNTING=${ACCOUNTING:-0} INSTALL=${INSTALL:-1}
HOST=$(hostname -s)
UNAVAILABLE=3

unavailable() { echo "$*" >&2; exit "$UNAVAILABLE"; }
fail() { echo "$*" >&2; tail -n 5 "$STATE"/log/*.log >&2 || true; exit 1; }
wait_for() { # seconds, what, command...
    local end=$((SECONDS + $1)) what=$2
    shift 2
    while ((SECONDS <= end)); do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    fail "no $what"
}
running() { # name: whether the process that was noted under it lives
    local pid
    pid=$(cat "$STATE/pid/$1" 2>/dev/null) && [ -n "$pid" ] && kill -0 "$pid" 2>/dev/null &&
        ! grep -q ') Z ' "/proc/$pid/stat" # nobody has taken note of its end yet
}

[ "$(id -u)" = 0 ] || unavailable "Slurm's daemons are started by root only"
command -v dpkg-query >/dev/null || unavailable "not a Debian system: no dpkg"

packages=(slurmctld slurmd slurm-client munge)
[ "$ACCOUNTING" = 1 ] && packages+=(slurmdbd mariadb-server)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
mkdir -p "$STATE"/{log,pid,controller,spool,munge}
chmod 755 "$STATE" "$STATE/munge"
if [ ${#missing[@]} -gt 0 ]; then
    [ "$INSTALL" = 1 ] || unavailable "packages are missing: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt=(apt-get -q -o DPkg::Lock::Timeout=300)
    { "${apt[@]}" update; "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } \
        >"$STATE/log/apt.log" 2>&1 || unavailable "cannot install ${missing[*]}: $(tail -n 1 "$STATE/log/apt.log")"
fi

# A munge of its own: key, socket and log lie in the folder.
socket=$STATE/munge/socket
if ! running munged; then
    rm -f "$socket"* "$STATE/munge/pid"
    (umask 077; [ -s "$STATE/munge/key" ] || head -c 128 /dev/urandom >"$STATE/munge/key")
    munged --socket="$socket" --key-file="$STATE/munge/key" --pid-file="$STATE/munge/pid" \
        --log-file="$STATE/log/munged.log" --seed-file="$STATE/munge/seed" --force 2>"$STATE/log/munge.log"
    wait_for 10 munge munge --socket="$socket" -n
    cp "$STATE/munge/pid" "$STATE/pid/munged"
fi

# Ports that nobody has, the same ones when started again.
if [ ! -s "$STATE/port" ]; then
    used() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
    for ((try = 0; try < 50; try++)); do
        port=$((20000 + RANDOM % 10000)) free=1
        for ((i = 0; i < NODES + 2; i++)); do used $((port + i)) && free=0; done
        [ "$free" = 1 ] && break
    done
    echo "$port" >"$STATE/port"
fi
port=$(cat "$STATE/port") # of the controller; then accounting's, then the nodes'

memory=$(($(awk '/MemTotal/{print int($2/1024)}' /proc/meminfo) * 3 / 4))
nodes=()
for ((i = 0; i < NODES; i++)); do
    nodes+=("NodeName=n$i NodeHostname=$HOST NodeAddr=127.0.0.1 Port=$((port + 2 + i)) CPUs=$CPUS RealMemory=$memory")
done
main=$(printf 'n%s,' $(seq 0 $((NODES - 2)))) && main=${main%,}
accounting="AccountingStorageType=accounting_storage/none"
[ "$ACCOUNTING" = 1 ] && accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=$((port + 1))
AccountingStoragePass=$socket"
cat >"$STATE/slurm.conf" <<CONF
ClusterName=tests
SlurmctldHost=$HOST(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# a requeued job waits until credentials of its first start have expired: 5 s is the least
AuthInfo=socket=$socket,cred_expire=5
StateSaveLocation=$STATE/controller
SlurmdSpoolDir=$STATE/spool/%n
SlurmctldPidFile=$STATE/pid/slurmctld
SlurmdPidFile=$STATE/pid/slurmd-%n
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
MinJobAge=3600
KillWait=15
JobRequeue=1
JobAcctGatherType=jobacct_gather/none
$accounting
$(printf '%s\n' "${nodes[@]}")
PartitionName=main Nodes=$main Default=YES MaxTime=INFINITE DefaultTime=10 PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=$main MaxTime=INFINITE DefaultTime=10 PriorityTier=2 PreemptMode=OFF
PartitionName=fragile Nodes=n$((NODES - 1)) MaxTime=INFINITE DefaultTime=10 PreemptMode=OFF
CONF
export SLURM_CONF=$STATE/slurm.conf

if [ "$ACCOUNTING" = 1 ]; then
    data=$STATE/data sql=$STATE/data/socket
    if ! running mariadbd; then
        [ -d "$data/mysql" ] || {
            install -d -o mysql -g mysql -m 755 "$data"
            mariadb-install-db --no-defaults --user=mysql --datadir="$data" --skip-test-db \
                --auth-root-authentication-method=socket >"$STATE/log/mariadb-install.log" 2>&1
        }
        setsid mariadbd --no-defaults --user=mysql --datadir="$data" --socket="$sql" --skip-networking \
            --pid-file="$data/pid" --innodb-lock-wait-timeout=900 >"$STATE/log/mariadb.log" 2>&1 </dev/null &
        echo $! >"$STATE/pid/mariadbd"
        wait_for 60 MariaDB mariadb --no-defaults -uroot -S "$sql" -e 'select 1'
        mariadb --no-defaults -uroot -S "$sql" -e 'create database if not exists slurm'
    fi
    if ! running slurmdbd; then
        # the client takes "localhost" as "by the socket", and MYSQL_UNIX_PORT says which
        (umask 077; cat >"$STATE/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$socket
DbdHost=$HOST
DbdAddr=127.0.0.1
DbdPort=$((port + 1))
SlurmUser=root
LogFile=$STATE/log/slurmdbd.log
PidFile=$STATE/pid/slurmdbd
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm
CONF
        )
        MYSQL_UNIX_PORT=$sql slurmdbd
        wait_for 30 slurmdbd sacctmgr -n list cluster
        sacctmgr -n list cluster format=cluster | grep -qw tests || sacctmgr -i add cluster tests >/dev/null
    fi
fi

running slurmctld || slurmctld -f "$SLURM_CONF"
wait_for 20 slurmctld sh -c 'scontrol ping | grep -q UP'
for ((i = 0; i < NODES; i++)); do
    running "slurmd-n$i" || slurmd -f "$SLURM_CONF" -N "n$i"
done
ready() { [ "$(sinfo -h -N -t idle,alloc,mix -o %N | sort -u | wc -l)" = "$NODES" ]; }
wait_for 30 "node is ready" ready
