#!/usr/bin/env bash
# Run a bundle on the systems that its pages name, each in a root of its own: read-only but for /tmp, without a network, on one core and with
# 512 MB where the kernel lets that be set. No part of `make check`: needs root, debootstrap, dpkg-deb, unshare, unzip, pip and the network, for
# emulated systems qemu-user-static and binfmt-support, and takes minutes.
#
#   tests/bundle/systems.sh BUNDLE.zip FOLDER SYSTEM... [-- OPTION OF measure.py ...]
#
#   python3.9 … python3.13   Debian's or Ubuntu's Python on this processor: features checked, latency measured, record written
#   no-avx                   python3.11 on an emulated x86 without AVX (Nehalem): features alone
#   arm64                    python3.11 on emulated 64-bit ARM: features alone
#
# FOLDER (made where it does not exist) keeps the systems, 300 MB each, for the next time.
set -euo pipefail
usage="usage: systems.sh BUNDLE.zip FOLDER SYSTEM... [-- OPTION...]"
bundle=$(realpath "${1:?$usage}"); mkdir -p "${2:?$usage}"; place=$(realpath "$2"); shift 2
systems=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do systems+=("$1"); shift; done
[ $# -gt 0 ] && shift
[ ${#systems[@]} -gt 0 ] || { echo "error: $usage" >&2; exit 2; }

for tool in debootstrap dpkg-deb unzip unshare pip; do
  command -v "$tool" >/dev/null || { echo "error: $tool is missing: apt-get install debootstrap dpkg unzip util-linux python3-pip" >&2; exit 2; }
done

need() {  # PROGRAM PACKAGE
  command -v "$1" >/dev/null || { echo "error: $1 is missing: apt-get install $2" >&2; exit 2; }
}

make_root() {  # ARCHITECTURE SUITE MIRROR PYTHON; the root's folder as answer
  local root=$place/$2-$1 log=$place/$2-$1.log script=/usr/share/debootstrap/scripts/sid
  case $3 in *ubuntu*) script=/usr/share/debootstrap/scripts/gutsy ;; esac  # whose name stands for every later Ubuntu
  if [ ! -e "$root.ready" ]; then
    rm -rf "$root"  # of an attempt that did not come to its end
    # The second stage, which would run hundreds of maintainer scripts, is not needed to run Python.
    debootstrap --arch="$1" --foreign --variant=minbase --no-check-gpg --include=python3 "$2" "$root" "$3" "$script" >"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
    for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
    local machine=x86_64 platforms=()
    [ "$1" = arm64 ] && machine=aarch64
    for glibc in 2_31 2_28 2_27 2_17; do platforms+=(--platform "manylinux_${glibc}_$machine"); done
    pip download --quiet --only-binary=:all: --python-version "$4" "${platforms[@]}" --platform "manylinux2014_$machine" --dest "$root.wheels" numpy onnxruntime
    mkdir -p "$root/opt/packages" "$root/opt/bundle" "$root/usr/bin"
    for wheel in "$root.wheels"/*.whl; do unzip -qo "$wheel" -d "$root/opt/packages"; done
    rm -rf "$root.wheels"
    touch "$root.ready"
  fi
  echo "$root"
}

memory_limit() {  # a group of processes with 512 MB, where there can be one; its folder as answer
  local group
  for group in /sys/fs/cgroup/memory /sys/fs/cgroup; do
    local file=$group/vireid-$$/memory.limit_in_bytes
    [ "$group" = /sys/fs/cgroup ] && file=$group/vireid-$$/memory.max
    if mkdir "$group/vireid-$$" 2>/dev/null; then
      if echo 536870912 2>/dev/null >"$file"; then echo "$group/vireid-$$"; return; fi
      rmdir "$group/vireid-$$"
    fi
  done
}

group=$(memory_limit)
trap '[ -z "$group" ] || rmdir "$group" 2>/dev/null || true' EXIT
[ -n "$group" ] && memory="512 MB" || memory="no limit of memory, which this kernel does not let us set"

debian=http://deb.debian.org/debian ubuntu=http://archive.ubuntu.com/ubuntu
failed=()
for system in "${systems[@]}"; do
  options=(--threads 1)
  case $system in
    python3.9) root=$(make_root amd64 bullseye $debian 3.9) ;;
    python3.10) root=$(make_root amd64 jammy $ubuntu 3.10) ;;
    python3.11) root=$(make_root amd64 bookworm $debian 3.11) ;;
    python3.12) root=$(make_root amd64 noble $ubuntu 3.12) ;;
    python3.13) root=$(make_root amd64 trixie $debian 3.13) ;;
    no-avx)
      need qemu-x86_64-static qemu-user-static
      root=$(make_root amd64 bookworm $debian 3.11)
      if [ ! -e "$root-no-avx.ready" ]; then
        rm -rf "$root-no-avx"
        cp -a "$root" "$root-no-avx"
        cp "$(command -v qemu-x86_64-static)" "$root-no-avx/opt/qemu"
        # Features are computed in child processes, which must be emulated too: what they start is this script.
        mv "$root-no-avx/usr/bin/python3.11" "$root-no-avx/usr/bin/real-python"
        printf '#!/bin/sh\nexec /opt/qemu -cpu Nehalem -0 /usr/bin/python3.11 /usr/bin/real-python "$@"\n' >"$root-no-avx/usr/bin/python3.11"
        chmod +x "$root-no-avx/usr/bin/python3.11"
        touch "$root-no-avx.ready"
      fi
      root=$root-no-avx options+=(--emulated) ;;
    arm64)
      need qemu-aarch64-static "qemu-user-static binfmt-support"
      [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || { echo "error: the kernel does not start ARM programs by QEMU: mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; update-binfmts --enable qemu-aarch64" >&2; exit 2; }
      root=$(make_root arm64 bookworm $debian 3.11)
      options+=(--emulated) ;;
    *) echo "error: no system '$system': python3.9, python3.10, python3.11, python3.12, python3.13, no-avx, arm64" >&2; exit 2 ;;
  esac
  [[ " ${options[*]} " == *" --emulated "* ]] || options+=(--record /tmp/record.json)
  rm -rf "$root/opt/bundle"; mkdir -p "$root/opt/bundle"
  unzip -q "$bundle" -d "$root/opt/bundle"
  python=$(cd "$root/usr/bin" && ls python3.* | grep -E '^python3\.[0-9]+$' | head -1)
  limits=$memory
  # An emulator needs more than the program that it emulates.
  [[ " ${options[*]} " == *" --emulated "* ]] && group_here="" limits="no limit of memory" || group_here=$group
  echo "== $system: $python, one core, $limits, read-only, no network"
  export root group_here python top="/opt/bundle/$(ls "$root/opt/bundle")"
  # Mounts are this process's own and end with it. One thread: waiting threads spin, and emulated they take minutes.
  if unshare --mount --net --propagation private bash -c '
      mount --bind "$root" "$root" && mount -t proc proc "$root/proc" && mount -t tmpfs -o size=64m tmpfs "$root/tmp" &&
      mount -o remount,bind,ro "$root" && cd / || exit 3
      [ -z "$group_here" ] || echo $$ >"$group_here/cgroup.procs"
      exec taskset --cpu-list 0 chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin LC_ALL=C.UTF-8 HOME=/ PYTHONPATH=/opt/packages \
        "/usr/bin/$python" "$top/measure.py" "$@"' bash "${options[@]}" "$@"
  then echo "== $system: passed"; else failed+=("$system"); echo "== $system: FAILED (exit status $?)"; fi
done
[ ${#failed[@]} -eq 0 ] || { echo "error: failed on ${failed[*]}" >&2; exit 1; }
