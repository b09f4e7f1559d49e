#!/bin/bash
# mpi-roots.sh DIR: small roots of Debian 12 and 13 below DIR, with Open MPI, mpi4py and the ssh server, for `make mpi-test`. The
# packages are in these roots alone: on this machine the server would start, open to the network.
set -euo pipefail

out=${1:?usage: mpi-roots.sh DIR}
packages=openmpi-bin,python3-mpi4py,python3,openssh-server,openssh-client,hostname,iproute2,netbase

SLIM=1 exec "$(dirname "$0")/roots.sh" mpi-test "$out" "$packages"
