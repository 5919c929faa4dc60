#!/usr/bin/env bash
# Fuzzing, with cargo-fuzz on the stable compiler.
#
#   scripts/fuzz.sh run SECONDS [TARGET…]   each target for so long; what is new goes to fuzz/found
#   scripts/fuzz.sh corpus                  minimises seeds, corpus and what was found into fuzz/corpus
#                                           (while none runs: a run replaces what it found)
#
# An input that fails lies in fuzz/artifacts/TARGET; `cargo fuzz run TARGET FILE` tries it again.
set -euo pipefail
cd "$(dirname "$0")/.."

# libFuzzer's instrumentation is an unstable flag of the compiler, and all that is unstable here.
export RUSTC_BOOTSTRAP=1
# The broker has no unsafe code: the sanitizers would only slow it down.
FLAGS=(--sanitizer none)

command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --version 0.13.2 --locked

what=${1:?run or corpus}
shift
cargo fuzz build "${FLAGS[@]}"

case $what in
run)
    seconds=${1:?SECONDS}
    shift
    targets=("$@")
    [ "${#targets[@]}" -gt 0 ] || mapfile -t targets < <(cargo fuzz list)
    for target in "${targets[@]}"; do
        mkdir -p "fuzz/found/$target"
        echo "=== $target, $seconds s"
        cargo fuzz run "${FLAGS[@]}" "$target" "fuzz/found/$target" "fuzz/corpus/$target" -- \
            -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -verbosity=0
    done
    ;;
corpus)
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    fuzz/seeds.py "$work/seeds"
    for target in $(cargo fuzz list); do
        mkdir -p "fuzz/found/$target" "fuzz/corpus/$target" "$work/$target"
        # By edges alone, not by how often each was taken: a tenth of the size.
        cargo fuzz run "${FLAGS[@]}" "$target" "$work/$target" "$work/seeds/$target" \
            "fuzz/corpus/$target" "fuzz/found/$target" -- \
            -set_cover_merge=1 -use_counters=0 -verbosity=0
        rm -r "fuzz/corpus/$target"
        cp -r "$work/$target" "fuzz/corpus/$target"
        echo "$target: $(find "fuzz/corpus/$target" -type f | wc -l) inputs"
    done
    ;;
*)
    echo "run or corpus" >&2
    exit 2
    ;;
esac
