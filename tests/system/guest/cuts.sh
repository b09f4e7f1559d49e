#!/bin/bash
# A machine whose plug is pulled while it writes. The first boot installs the packages and sets them up; each later one shows that
# the machine is whole. Then it writes without end what a head writes, until the host kills it.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /

echo "=== BEGIN"
if [ ! -e /var/lib/system-test.cuts ]; then
    step "installed and set up, to be cut off" set_up_for_cuts
else
    step "whole after the power cut" whole
fi
echo "=== END $passed passed, $failed failed"
[ "$failed" = 0 ] || exit 1
# shellcheck source=tests/system/guest/steps/80-cuts.sh
. "$here/guest/steps/80-cuts.sh"
write_without_end
