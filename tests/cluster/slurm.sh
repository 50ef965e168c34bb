#!/usr/bin/env bash
# A real SLURM of several nodes on one machine, for the tests: slurm.sh up|down|status|stop NODE|start NODE
# Root on Debian; no systemd, no cgroups, no database. Packages are installed where they are missing.
#   SLURM_TEST_HOME   where its state and logs lie        (default: a folder under TMPDIR)
#   SLURM_TEST_NODES  number of nodes                     (2)
#   SLURM_TEST_CPUS   cores that each node says it has    (2)
#   SLURM_TEST_MB     memory that each node says it has   (8000)
#   SLURM_TEST_GPU=1  each node says it has one GPU (/dev/null), to see what asks for it
# Memory limits are enforced by sampling, as cgroups would: a job that uses more than it asked for is killed.
set -euo pipefail
home=${SLURM_TEST_HOME:-${TMPDIR:-/tmp}/stratiome-slurm}
nodes=${SLURM_TEST_NODES:-2}
cpus=${SLURM_TEST_CPUS:-2}
memory=${SLURM_TEST_MB:-8000}
port=${SLURM_TEST_PORT:-17400}
conf=/etc/slurm/slurm.conf # SLURM's own place: the executor's job steps unset SLURM_CONF

die() {
  echo "slurm.sh: $1" >&2
  exit 1
}

stop_process() { # by the file that holds its number
  [ -s "$1" ] || return 0
  local pid
  pid=$(cat "$1")
  kill "$pid" 2>/dev/null || true
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$1"
}

start_node() {
  mkdir -p "$home/spool.$1"
  slurmd -c -N "$1"
}

# As where a machine loses power: the daemon and whatever it runs are gone at once.
stop_node() {
  local pid
  pid=$(cat "$home/run/slurmd.$1.pid")
  kill -9 "$pid" 2>/dev/null || true
  rm -f "$home/run/slurmd.$1.pid"
  for step in $(pgrep -f "^slurmstepd: " || true); do
    if ls -l "/proc/$step/fd" 2>/dev/null | grep -q "/slurmd.$1.log$"; then
      kill_tree "$step"
    fi
  done
}

kill_tree() {
  local child
  for child in $(pgrep -P "$1" || true); do kill_tree "$child"; done
  kill -9 "$1" 2>/dev/null || true
}

down() {
  [ -d "$home/run" ] || return 0
  for file in "$home"/run/slurmd.*.pid "$home/run/slurmctld.pid" "$home/run/munged.pid"; do stop_process "$file"; done
  if [ "$(readlink "$conf" 2>/dev/null)" = "$home/slurm.conf" ]; then rm -f "$conf" /etc/slurm/gres.conf; fi
}

install_packages() {
  command -v slurmctld >/dev/null && command -v slurmd >/dev/null && command -v munged >/dev/null && return
  command -v apt-get >/dev/null || die "slurmctld, slurmd and munged are needed"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends slurm-wlm munge >/dev/null
}

write_conf() {
  local host gres=""
  host=$(hostname -s)
  rm -f "$home/gres.conf"
  if [ "${SLURM_TEST_GPU:-0}" = 1 ]; then
    gres="Gres=gpu:1"
    echo "Name=gpu File=/dev/null" >"$home/gres.conf"
    ln -sfn "$home/gres.conf" /etc/slurm/gres.conf
  fi
  cat >"$home/slurm.conf" <<C
ClusterName=stratiome
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$home/run/munge.sock
CredType=cred/munge
StateSaveLocation=$home/state
SlurmctldPidFile=$home/run/slurmctld.pid
SlurmctldLogFile=$home/log/slurmctld.log
SlurmdPidFile=$home/run/slurmd.%n.pid
SlurmdLogFile=$home/log/slurmd.%n.log
SlurmdSpoolDir=$home/spool.%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=1
JobAcctGatherParams=OverMemoryKill
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc=$home/log/jobs.txt
MpiDefault=none
SwitchType=switch/none
MinJobAge=600
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000
SlurmdParameters=config_overrides
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=15
HealthCheckInterval=0
InactiveLimit=0
KillWait=30
DefMemPerCPU=500
JobRequeue=0
${gres:+GresTypes=gpu}
NodeName=n[1-$nodes] NodeHostname=$host NodeAddr=127.0.0.1 Port=[$((port + 1))-$((port + nodes))] CPUs=$cpus RealMemory=$memory $gres State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
}

up() {
  [ "$(id -u)" = 0 ] || die "needs root"
  if [ -e "$conf" ] && [ ! -L "$conf" ]; then die "$conf is that of a real cluster; it is left alone"; fi
  install_packages
  down
  rm -rf "$home"/state "$home"/spool.*
  mkdir -p "$home"/{run,log,state,munge} /etc/slurm
  chmod 755 "$home" "$home"/{run,log,state}
  [ -s "$home/munge/key" ] || dd if=/dev/urandom of="$home/munge/key" bs=1024 count=1 status=none
  chmod 700 "$home/munge"
  chmod 600 "$home/munge/key"
  munged --force --key-file="$home/munge/key" --socket="$home/run/munge.sock" --seed-file="$home/munge/seed" \
    --pid-file="$home/run/munged.pid" --log-file="$home/log/munged.log"
  write_conf
  ln -sfn "$home/slurm.conf" "$conf"
  unset SLURM_CONF
  slurmctld -c
  for i in $(seq "$nodes"); do start_node "n$i"; done
  for _ in $(seq 150); do
    [ ! -s "$home/run/slurmctld.pid" ] || kill -0 "$(cat "$home/run/slurmctld.pid")" 2>/dev/null || break
    if [ "$(timeout 5 sinfo -h -N -o %t 2>/dev/null | grep -c '^idle$')" = "$nodes" ]; then
      echo "$nodes nodes are idle"
      return
    fi
    sleep 0.2
  done
  tail -n 5 "$home"/log/slurm*.log >&2
  die "not all of the $nodes nodes came up; logs are in $home/log"
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  status) sinfo -N -o '%N %t %c %m' && squeue -o '%i %T %N %k' ;;
  stop) stop_node "$2" ;;
  start) start_node "$2" ;;
  *) die "up, down, status, stop NODE or start NODE" ;;
esac
