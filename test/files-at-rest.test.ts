import { pbkdf2 } from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { filesAtRest } from './fixtures/files-at-rest.ts';

/** What does the work of files is kept busy with something else: each step of a file takes long. */
let busy: Promise<unknown>;

const occupy = () => {
  const threads = Number(process.env.UV_THREADPOOL_SIZE ?? 4);
  busy = Promise.all(
    Array.from({ length: threads }, () => promisify(pbkdf2)('p', 's', 50_000, 64, 'sha512')),
  );
};

beforeEach(() => {
  busy = Promise.resolve();
});
afterEach(() => busy);

test('waits for a file that is read', async () => {
  let done = false;
  occupy();
  const reading = readFile(import.meta.filename).finally(() => {
    done = true;
  });
  await filesAtRest(2);
  expect(done).toBe(true);
  await reading;
});

test('waits for a file that is closed', async () => {
  const file = await open(import.meta.filename);
  let done = false;
  occupy();
  const closing = file.close().finally(() => {
    done = true;
  });
  await filesAtRest(2);
  expect(done).toBe(true);
  await closing;
});
