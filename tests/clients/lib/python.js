// The virtual environment with the Python client, made by scripts/install-test-needs.sh.

import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Its interpreter. */
export function python() {
  const path = process.env.PAHO_PYTHON ?? join(import.meta.dirname, '../.venv/bin/python');
  if (!existsSync(path)) throw new Error(`no ${path}: run scripts/install-test-needs.sh`);
  return path;
}
