#!/usr/bin/env bash
# Check a bundle's function on 64-bit ARM under QEMU: Debian's Python and the ARM wheels of NumPy and ONNX Runtime, whose
# ARM kernels compute the features. No part of `make check`: needs root, qemu-user-static, binfmt-support, debootstrap,
# unzip, pip and the network, and takes minutes.
#
#   tests/bundle/emulation.sh pi.zip [FOLDER] [OPTION OF measure.py ...]
#
# FOLDER (made where it does not exist) keeps the system, 300 MB, for the next time.
set -euo pipefail
bundle=${1:?usage: emulation.sh BUNDLE.zip [FOLDER] [OPTION...]}
place=${2:-$(mktemp -d)}
shift; [ $# -gt 0 ] && shift
root=$place/root

for tool in debootstrap qemu-aarch64-static dpkg-deb unzip unshare; do
  command -v "$tool" >/dev/null || { echo "error: $tool is missing: apt-get install qemu-user-static binfmt-support debootstrap unzip" >&2; exit 2; }
done
if [ ! -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ]; then
  echo "error: the kernel does not start ARM programs by QEMU: mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc; update-binfmts --enable qemu-aarch64" >&2
  exit 2
fi

if [ ! -e "$place/ready" ]; then
  rm -rf "$root" "$place/wheels"  # of an attempt that did not come to its end
  # The second stage, which would run hundreds of maintainer scripts emulated, is not needed to run Python.
  debootstrap --arch=arm64 --foreign --variant=minbase --include=python3 bookworm "$root" >"$place/debootstrap.log" ||
    { tail -5 "$place/debootstrap.log" >&2; exit 1; }
  for package in "$root"/var/cache/apt/archives/*.deb; do dpkg-deb --extract "$package" "$root"; done
  platforms=(--platform manylinux_2_28_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux2014_aarch64)
  pip download --quiet --only-binary=:all: --python-version 3.11 "${platforms[@]}" --dest "$place/wheels" numpy onnxruntime
  mkdir -p "$root/opt/packages"
  for wheel in "$place"/wheels/*.whl; do unzip -qo "$wheel" -d "$root/opt/packages"; done
  touch "$place/ready"
fi

rm -rf "$root/opt/bundle"
mkdir -p "$root/opt/bundle"
unzip -q "$bundle" -d "$root/opt/bundle"
export root top
top=$(ls "$root/opt/bundle")
# The mount is this process's own and ends with it. One thread: waiting threads spin, and emulated they take minutes.
unshare --mount bash -c 'mount -t proc proc "$root/proc" && cd / && exec chroot "$root" env -i PATH=/usr/bin:/bin \
  LC_ALL=C.UTF-8 PYTHONPATH=/opt/packages python3 "/opt/bundle/$top/measure.py" --emulated --threads 1 "$@"' bash "$@"
