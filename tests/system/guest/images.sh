#!/bin/bash
# Where images are made, and heads from afar: pi-gen's stage and rpi-image-gen's layer on two further disks, which the host boots next
# (head.sh), and the Ansible role on this machine.
set -u
# shellcheck source=tests/system/guest/lib.sh
. "$(dirname "$0")/lib.sh"
cd /
export HOME=/root

echo "=== BEGIN"
step "USB devices appear: hidraw and an I2C bus" need_devices
step "pi-gen's stage, as pi-gen runs it, in a Debian 13" run_pi_gen_stage
step "rpi-image-gen's layer, by mmdebstrap, in a Debian 13" run_rpi_image_gen_layer
step "the Ansible role over ssh: a head that works" run_ansible_role
step "the role again: nothing changes" run_ansible_role_again
echo "=== END $passed passed, $failed failed"
