#!/bin/bash
# build.sh [OUT]: makes clat.bpf.o of clat.bpf.c with clang 14 or newer (CLANG names another one). Without debug data: the
# object holds no path, and needs no BTF to be loaded. Each variable has a place of its own on the stack (clat.bpf.c).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
# Debian keeps the kernel's asm headers by architecture; their types are the same.
multiarch=/usr/include/$(gcc -print-multiarch 2>/dev/null || echo x86_64-linux-gnu)
"${CLANG:-clang}" -target bpfel -mcpu=v2 -O2 -Wall -Wextra -Werror -std=gnu11 -isystem "$multiarch" -mllvm -no-stack-coloring \
    -c clat.bpf.c -o "${1:-clat.bpf.o}"
