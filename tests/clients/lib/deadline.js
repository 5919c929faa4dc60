// Waiting with a deadline. Tests wait for events and never for time: what does not come within the
// deadline is a failure that says what was waited for.

/** Milliseconds after which something that should happen counts as not happening. */
export const DEADLINE_MS = 10_000;

/** `promise`, or a failure that names `what` once `ms` milliseconds have passed. */
export async function within(promise, what, ms = DEADLINE_MS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * The first truthy answer of `probe`, which is asked again and again. For things that announce
 * themselves to nobody: a port that opens, a row in a database. An error counts as "not yet", and
 * the last one is part of the failure.
 */
export async function eventually(what, probe, ms = DEADLINE_MS) {
  const deadline = Date.now() + ms;
  let last;
  for (;;) {
    try {
      const answer = await probe();
      if (answer) return answer;
      last = answer;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`no ${what} within ${ms} ms; last answer: ${last?.stack ?? String(last)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Things that arrive, in order, and those who wait for them. */
export class Inbox {
  #arrived = [];
  #waiting = [];

  put(item) {
    const index = this.#waiting.findIndex((waiter) => waiter.wanted(item));
    if (index < 0) this.#arrived.push(item);
    else this.#waiting.splice(index, 1)[0].resolve(item);
  }

  /** The first item that is `wanted`, taken out; those before it stay. */
  take(what, wanted = () => true, ms = DEADLINE_MS) {
    const index = this.#arrived.findIndex(wanted);
    if (index >= 0) return Promise.resolve(this.#arrived.splice(index, 1)[0]);
    return within(new Promise((resolve) => this.#waiting.push({ wanted, resolve })), what, ms);
  }

  /** Everything that arrived and was not taken. */
  rest() {
    return [...this.#arrived];
  }
}
