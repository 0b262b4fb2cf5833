#!/usr/bin/env bash
# A night's run for cron: deploy/cron/nightly.sh LOG COMMAND…
#
# One at a time; again, after a pause, while it ends with 75 (try again). Prints only what somebody has to see, for cron
# mails what is printed: nothing after 0, nor after 7 (the budget is spent: the next night goes on). LOG has it all.
# Exit code: the command's, but 0 for 7; 75 if the run before is still at work.
set -euo pipefail

log=$1
shift
attempts=${ATTEMPTS:-3}
pause=${PAUSE_SECONDS:-300}

# The command inherits the lock, which is held until its last process has ended, whoever kills this script.
exec 9>>"$log.lock"
flock --nonblock 9 || { echo "not started: the run before is still at work; it writes to $log"; exit 75; }

note() { echo "$(date --iso-8601=seconds) $*" >>"$log"; }

for ((attempt = 1; ; attempt++)); do
  note "attempt $attempt: $*"
  start=$(wc -c <"$log")
  code=0
  "$@" >>"$log" 2>&1 || code=$?
  note "exit code $code"
  ((code == 75 && attempt < attempts)) || break
  sleep "$pause"
done

case $code in
  0) exit 0 ;;
  7) note "the budget is spent: the next night goes on"; exit 0 ;;
  6) echo "Held back by a gate: readers see the table as it was. Look at it, then publish it or leave it." ;;
  75) echo "Given up after $attempts attempts; the next night goes on with what is missing." ;;
  *) echo "Failed with exit code $code; docs/faults.md says what to do." ;;
esac
tail -c +$((start + 1)) "$log" | tail -n 50
exit "$code"
