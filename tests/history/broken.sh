#!/usr/bin/env bash
# Builds the program with each defect of tests/history/broken, and demands that the history checker catches it, by the check
# that the patch names. Prints a table.
#
# tests/history/broken.sh [NAME…]   these patches only; SECONDS_EACH (20) of faults for each of SEEDS (1 to 5), until it is caught
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
target=$root/target/broken
source=$target/source
each=${SECONDS_EACH:-20}
seeds=${SEEDS:-1 2 3 4 5}

names=("$@")
if [ ${#names[@]} = 0 ]; then
  for patch in tests/history/broken/*.patch; do
    names+=("$(basename "$patch" .patch)")
  done
fi

mkdir -p "$target"
if [ ! -e "$target/debug" ] && [ -e target/debug/deps ]; then
  # The dependencies are the same, and were built before.
  mkdir "$target/debug"
  cp -al target/debug/deps target/debug/build target/debug/.fingerprint "$target/debug/"
fi
rm -rf "$source"
mkdir "$source"
git ls-files -z | grep -zv '^tests/' | xargs -0 cp --parents -t "$source"
mkdir -p "$source/tests"
cp -r tests/it tests/support "$source/tests/"

# A copy, so that what is changed here meanwhile changes nothing.
checker=$(cargo test --test it --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
cp "$checker" "$target/checker"
table=()
missed=0
for name in "${names[@]}"; do
  patch=$root/tests/history/broken/$name.patch
  setup=$(sed -n 's/^Run: //p' "$patch")
  expected=$(sed -n 's/^Caught by: //p' "$patch")
  # Outside of any repository, as far as git can tell: otherwise it passes over what is ignored here.
  (cd "$source" && GIT_CEILING_DIRECTORIES=$target git apply "$patch")
  (cd "$source" && cargo build --quiet --bin directmessages --target-dir "$target")
  cp "$target/debug/directmessages" "$target/$name"
  (cd "$source" && GIT_CEILING_DIRECTORIES=$target git apply --reverse "$patch")
  caught=
  for seed in $seeds; do
    begun=$SECONDS
    if DIRECTMESSAGES_PROGRAM=$target/$name SEED=$seed HISTORY_SECONDS=$each RUST_BACKTRACE=0 \
      "$target/checker" "history::${setup:-postgres}" --exact --nocapture >"$target/$name.log" 2>&1; then
      found=nothing
    else
      found=$(sed -n 's/^FOUND //p' "$target/$name.log")
      if [[ ", $found" == *", $expected: "* ]]; then
        caught=yes
      fi
    fi
    row=$(printf '%-28s %-16s seed %s, %3s s: %s' "$name" "$expected" "$seed" $((SECONDS - begun)) "${found:-see $target/$name.log}")
    echo "$row"
    [ -z "$caught" ] || break
  done
  if [ -z "$caught" ]; then
    row="$row  NOT CAUGHT"
    missed=1
  fi
  table+=("$row")
done
echo
printf '%s\n' "${table[@]}"
exit $missed
