#!/usr/bin/env bash
# A real S3 server for the tests: one Ceph monitor, one OSD that keeps its objects in memory, one
# radosgw; every port on loopback. Debian 12's Ceph 16 takes 2 s to start and 150 MB of memory, and
# needs root for nothing but installing it (270 MB on disk).
#
#   deploy/s3_server.sh install | start | stop | status
#
# Exit codes: 0 done · 1 it should have worked and did not · 3 it cannot run here (no packages and no
# way to install them): the caller takes moto instead.
set -Eeuo pipefail  # E: the ERR trap in `start` holds inside functions too

folder=$(realpath -m "${S3_SERVER_FOLDER:-.s3-server}")  # state, logs and pid files; ignored by git
port=${S3_SERVER_PORT:-7480}                        # the S3 endpoint
monitor_port=${S3_SERVER_MONITOR_PORT:-3300}        # Ceph's own; the OSD takes free ones from 6800
access_key=${S3_SERVER_ACCESS_KEY:-rookery}
secret_key=${S3_SERVER_SECRET_KEY:-rookery-on-loopback}
memory_bytes=${S3_SERVER_MEMORY_BYTES:-4294967296}  # a limit, not a reservation
patience=${S3_SERVER_PATIENCE:-90}                  # seconds that each step may take

cannot_run_here=3
programs=(ceph ceph-authtool ceph-mon ceph-osd monmaptool radosgw radosgw-admin)
daemons=(radosgw osd monitor)                       # in the order in which they are stopped
endpoint=http://127.0.0.1:$port

# ── installing ──────────────────────────────────────────────────────────────────────────────────

installed() {
  local program
  for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || return 1
  done
}

install_packages() {
  installed && return
  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "s3_server: Ceph is not installed, and only root on a Debian machine can change that" >&2
    exit $cannot_run_here
  fi
  export DEBIAN_FRONTEND=noninteractive
  local packages=(radosgw ceph-mon ceph-osd)
  if ! { apt-get update && apt-get install -y --no-install-recommends "${packages[@]}"; } >&2 \
    || ! installed; then
    echo "s3_server: the Ceph packages could not be installed" >&2
    exit $cannot_run_here
  fi
}

# ── processes ───────────────────────────────────────────────────────────────────────────────────

# Prints the daemon's process id if it runs. A pid file may outlive its process and the kernel may
# give the number to a stranger, so a process is ours only if it was started with our configuration.
running_pid() {
  local pid
  pid=$(cat "$folder/run/$1.pid" 2>/dev/null) || return 1
  tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -Fxq -- "$folder/ceph.conf" || return 1
  echo "$pid"
}

# Starts a daemon in a session of its own: Ctrl-C on the tests must leave it to `stop`.
launch() {
  local name=$1
  shift
  setsid "$@" </dev/null >"$folder/log/$name.out" 2>&1 4>&- &
  echo $! >"$folder/run/$name.pid"
}

port_is_taken() { (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; }

# A subshell, so that its connection closes with it. bash speaks TCP itself: no need for curl.
answers() (
  exec 3<>"/dev/tcp/127.0.0.1/$port"
  printf 'GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' >&3
  read -r -t 5 status_line <&3
  [[ $status_line == HTTP/*" 200 "* ]]
) 2>/dev/null

# Repeats a check until it holds; gives up at once when the daemon that it is about has died.
wait_for() {
  local what=$1 daemon=$2 deadline=$((SECONDS + patience))
  shift 2
  until "$@" >/dev/null 2>&1; do
    running_pid "$daemon" >/dev/null || fail "$what: the $daemon has died"
    ((SECONDS < deadline)) || fail "$what: not within $patience s"
    sleep 0.1
  done
}

fail() {
  local log
  trap - ERR
  exec 2>&4  # back from the log to the caller
  echo "s3_server: $1" >&2
  for log in "$folder"/log/*; do
    [[ -s $log ]] && printf '\n── end of %s\n%s\n' "$log" "$(tail -n 15 "$log")" >&2
  done
  stop_daemons
  exit 1
}

# ── the cluster ─────────────────────────────────────────────────────────────────────────────────

ceph_admin() { ceph --connect-timeout 5 -c "$folder/ceph.conf" -k "$folder/keyring" "$@"; }

osd_is_up() { ceph_admin osd stat | grep -q '1 up'; }

write_configuration() {
  cat >"$folder/ceph.conf" <<CONFIGURATION
[global]
fsid = $1
mon host = $2
public addr = 127.0.0.1
cluster addr = 127.0.0.1
public network = 127.0.0.0/8
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
auth allow insecure global id reclaim = false
mon warn on insecure global id reclaim allowed = false
keyring = $folder/keyring
run dir = $folder/run
crash dir = $folder/run
log file = $folder/log/\$name.log
mon cluster log file = $folder/log/cluster.log
# No admin sockets: a test's folder may be longer than the 107 characters that a socket's path may have.
admin socket =
# One disk, one copy.
osd crush chooseleaf type = 0
osd pool default size = 1
osd pool default min size = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
# radosgw makes many pools, for which the defaults want many disks.
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
mon max pg per osd = 1000
# The monitor gathers changes for a second before it decides; here each is waited for: 13 s without this.
paxos propose interval = 0.02
paxos min wait = 0.01
# The objects are in memory; a full disk under the monitor's few files is not worth an exit.
mon data avail warn = 1
mon data avail crit = 0
[mon.a]
mon data = $folder/monitor
mon initial members = a
[osd.0]
osd data = $folder/osd
osd objectstore = memstore
memstore device bytes = $memory_bytes
osd class load list = *
osd class default list = *
[client.rgw]
rgw data = $folder/radosgw
rgw frontends = beast endpoint=127.0.0.1:$port
rgw dns name = localhost
rgw thread pool size = 32
rgw enable usage log = false
rgw run sync thread = false
rgw lc debug interval = -1
CONFIGURATION
}

write_keys() {
  local keyring=$folder/keyring
  ceph-authtool --create-keyring "$keyring" --gen-key -n mon. --cap mon 'allow *'
  ceph-authtool "$keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *'
  ceph-authtool "$keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
  ceph-authtool "$keyring" --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
}

start_monitor() {
  monmaptool --create --fsid "$1" --addv a "$2" "$folder/monmap"
  ceph-mon -c "$folder/ceph.conf" --mkfs -i a --monmap "$folder/monmap" --keyring "$folder/keyring"
  launch monitor ceph-mon -c "$folder/ceph.conf" -f -i a
  wait_for "the monitor's first answer" monitor ceph_admin mon stat
}

start_osd() {
  local osd_id
  osd_id=$(new_id)
  ceph_admin osd new "$osd_id"
  ceph_admin auth import -i "$folder/keyring"
  ceph-osd -c "$folder/ceph.conf" -i 0 --mkfs --osd-uuid "$osd_id"
  launch osd ceph-osd -c "$folder/ceph.conf" -f -i 0
  wait_for "the OSD's joining" osd osd_is_up
}

start_radosgw() {
  launch radosgw radosgw -c "$folder/ceph.conf" -k "$folder/keyring" -f -n client.rgw
  radosgw-admin -c "$folder/ceph.conf" user create --uid=tests --display-name=tests \
    --access-key="$access_key" --secret-key="$secret_key"
  wait_for "radosgw's first answer" radosgw answers
}

new_id() { cat /proc/sys/kernel/random/uuid; }

# Makes the state folder anew, and refuses to empty a folder that holds anything but our state.
prepare_folder() {
  if [[ -n $(ls -A "$folder" 2>/dev/null) && ! -e $folder/ceph.conf ]]; then
    echo "s3_server: $folder is not empty and not a server's folder; nothing was touched" >&2
    exit 1
  fi
  rm -rf -- "$folder"
  mkdir -p "$folder"/{monitor,osd,radosgw,run,log}
  chmod 700 "$folder"
  echo '*' >"$folder/.gitignore"
}

# ── commands ────────────────────────────────────────────────────────────────────────────────────

start() {
  install_packages
  if running_pid radosgw >/dev/null && answers; then
    echo "already running at $endpoint"
    return
  fi
  stop_daemons
  if port_is_taken; then
    echo "s3_server: port $port is taken by another process" >&2
    exit 1
  fi
  prepare_folder
  exec 4>&2  # the steps below talk to a log; `fail` talks to the caller
  trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
  local cluster_id address
  cluster_id=$(new_id)
  address="[v2:127.0.0.1:$monitor_port]"
  write_configuration "$cluster_id" "$address"
  {
    write_keys
    start_monitor "$cluster_id" "$address"
    start_osd
    start_radosgw
  } >"$folder/log/start.out" 2>&1
  trap - ERR
  echo "ready at $endpoint"
}

# Nothing that a server holds outlives it, so there is nothing to wait for: no polite signal first.
stop_daemons() {
  local name pid
  for name in "${daemons[@]}"; do
    if pid=$(running_pid "$name"); then
      kill -KILL "$pid"
      while running_pid "$name" >/dev/null; do sleep 0.05; done
    fi
    rm -f "$folder/run/$name.pid"
  done
}

status() {
  local name pid all_run=0
  for name in "${daemons[@]}"; do
    if pid=$(running_pid "$name"); then
      echo "$name: process $pid, $(awk '/^VmRSS/ {print int($2 / 1024)}' "/proc/$pid/status") MiB"
    else
      echo "$name: not running"
      all_run=1
    fi
  done
  return $all_run
}

case ${1:-} in
  install) install_packages ;;
  start) start ;;
  stop) stop_daemons ;;
  status) status ;;
  *)
    echo "usage: $0 install | start | stop | status" >&2
    exit 2
    ;;
esac
