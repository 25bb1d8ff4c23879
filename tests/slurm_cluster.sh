#!/usr/bin/env bash
# A real Slurm cluster of one node on loopback, for the tests: Debian's slurm-wlm and munge, nothing of the system's own.
#   tests/slurm_cluster.sh up DIR      starts it, everything in DIR (an absolute path); SLURM_CONF is DIR/slurm.conf
#   tests/slurm_cluster.sh down DIR    stops it
set -euo pipefail
[ $# -eq 2 ] && [[ $2 == /* ]] || { echo "usage: tests/slurm_cluster.sh up|down DIR" >&2; exit 2; }
dir=$2
export SLURM_CONF=$dir/slurm.conf PATH=$PATH:/usr/sbin

missing() {
  for name in munged slurmctld slurmd sbatch squeue scancel scontrol; do
    command -v "$name" >/dev/null || { echo "$name"; return; }
  done
}

# free_port FIRST: a port on loopback that nobody listens on.
free_port() {
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}

configure() {
  local host
  host=$(hostname -s)
  mkdir -p "$dir"/{state,spool,munge}
  chmod 700 "$dir/munge"
  head -c 1024 /dev/urandom >"$dir/munge/key"
  chmod 400 "$dir/munge/key"
  cat >"$SLURM_CONF" <<CONF
ClusterName=loopback
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$(free_port $((21000 + RANDOM % 8000)))
SlurmdPort=$(free_port $((30000 + RANDOM % 8000)))
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$dir/munge/socket
StateSaveLocation=$dir/state
SlurmdSpoolDir=$dir/spool
SlurmctldPidFile=$dir/slurmctld.pid
SlurmdPidFile=$dir/slurmd.pid
SlurmctldLogFile=$dir/slurmctld.log
SlurmdLogFile=$dir/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
SlurmdParameters=config_overrides
CONF
}

up() {
  local lost
  lost=$(missing)
  [ -z "$lost" ] || { echo "error: no $lost: apt-get install slurm-wlm munge" >&2; exit 3; }
  configure
  munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munged.pid" \
    --log-file="$dir/munged.log" --seed-file="$dir/munge/seed"
  slurmctld -c
  slurmd
  for ((turn = 0; turn < 100; turn++)); do
    [[ $(sinfo --noheader --format=%t 2>/dev/null) == idle ]] && exit 0
    sleep 0.3
  done
  echo "error: the node did not come up; see $dir/slurmctld.log and $dir/slurmd.log" >&2
  tail -n 5 "$dir/slurmctld.log" "$dir/slurmd.log" >&2
  exit 1
}

down() {
  scancel --user="$(id -un)" 2>/dev/null || true
  for name in slurmd slurmctld munged; do
    [ -f "$dir/$name.pid" ] || continue
    pid=$(cat "$dir/$name.pid")
    kill "$pid" 2>/dev/null || continue
    for ((turn = 0; turn < 50; turn++)); do kill -0 "$pid" 2>/dev/null || break; sleep 0.2; done
    kill -KILL "$pid" 2>/dev/null || true
  done
}

case $1 in
  up) up ;;
  down) down ;;
  *) echo "usage: tests/slurm_cluster.sh up|down DIR" >&2; exit 2 ;;
esac
