#!/bin/bash
# The first boot of an image: no hand, no command.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /

echo "=== BEGIN"
step "USB devices appear: hidraw and an I2C bus" need_devices
step "a head that works: address on the glass, addresses for nodes, doctor content" image_is_a_head
step "the networks are those of the image, without the cluster port" image_has_its_networks
echo "=== END $passed passed, $failed failed"
