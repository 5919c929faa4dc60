#!/usr/bin/env bash
# Installs cargo-deny where it is missing, in the version that deny.toml is written for. It is built
# from source (about two minutes on two cores): the Python package that brings a binary is of 2023
# and cannot read today's package ids.
set -euo pipefail

version=0.20.2
if ! cargo deny --version >/dev/null 2>&1; then
    echo "installing: cargo-deny $version"
    cargo install --quiet --locked --version "$version" cargo-deny
fi
