import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Log, silentLog } from '#beehive/log.ts';
import { openDatabase } from './database.ts';
import { migrations } from './migrations.ts';

let dir: string;
let file: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-store-'));
  file = join(dir, 'data', 'edgecore.db');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const open = (log: Log = silentLog) => openDatabase(file, { log });
const addTopic = (topic: string) => (sql: { run(text: string, topic: string): number }) =>
  sql.run('INSERT INTO sub_topics (topic) VALUES (?)', topic);
const topics = 'SELECT topic FROM sub_topics ORDER BY topic';

describe('a store', () => {
  test('has all tables, and only its owner may read it', async () => {
    const store = open();
    const names = store.read((sql) =>
      sql.all<{ name: string }>("SELECT name FROM sqlite_master WHERE type = 'table'"),
    );
    expect(names.map((row) => row.name)).toEqual(
      expect.arrayContaining([
        'meta',
        'meta_v2',
        'device',
        'device_attr',
        'device_twin',
        'sub_topics',
        'target_urls',
      ]),
    );
    await store.close();
    for (const name of readdirSync(join(dir, 'data'))) {
      expect([name, statSync(join(dir, 'data', name)).mode & 0o077]).toEqual([name, 0]);
    }
  });

  test('commits the writes of one turn together, and one that throws takes back only itself', async () => {
    const store = open();
    const changes = await Promise.allSettled([
      store.write(addTopic('a')),
      store.write((sql) => {
        addTopic('b')(sql);
        throw new Error('no');
      }),
      store.write(addTopic('a')),
      store.write(addTopic('c')),
    ]);
    expect(changes.map((change) => change.status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
      'fulfilled',
    ]);
    expect(store.read((sql) => sql.all(topics))).toEqual([{ topic: 'a' }, { topic: 'c' }]);
    await store.close();
  });

  test('keeps what was awaited when the process dies without closing', async () => {
    const first = open();
    await first.write(addTopic('kept'));
    void first.write(addTopic('not awaited'));
    // A second connection sees what a restart after a kill would see.
    const second = new Database(file, { readonly: true });
    expect(second.prepare(topics).all()).toEqual([{ topic: 'kept' }]);
    second.close();
    await first.close();
    const third = open();
    expect([first.completeness, third.completeness]).toEqual(['empty', 'whole']);
    expect(third.read((sql) => sql.all(topics))).toEqual([{ topic: 'kept' }, { topic: 'not awaited' }]);
    await third.close();
  });

  test('refuses after close and beyond its limit', async () => {
    const store = open();
    const many = Array.from({ length: 10_001 }, () => store.write(() => 1));
    await expect(many.at(-1)).rejects.toMatchObject({ code: 'full' });
    await expect(Promise.all(many.slice(0, -1))).resolves.toHaveLength(10_000);
    await store.close();
    await expect(store.write(() => 1)).rejects.toMatchObject({ code: 'closed' });
  });

  test('takes over a file that KubeEdge wrote', async () => {
    const theirs = openAt(join(dir, 'theirs.db'));
    theirs.exec('CREATE TABLE meta (key varchar(256) PRIMARY KEY, type varchar(32), value text)');
    theirs.exec(`INSERT INTO meta VALUES ('default/pod/a', 'pod', '{}')`);
    theirs.close();
    file = join(dir, 'theirs.db');
    const store = open();
    expect(store.read((sql) => sql.all('SELECT key, uid FROM meta'))).toEqual([
      { key: 'default/pod/a', uid: null },
    ]);
    await store.close();
  });

  test('refuses a file of a newer version, and leaves it alone', async () => {
    await open().close();
    const raw = openAt(file);
    raw.pragma(`user_version = ${migrations.length + 1}`);
    raw.close();
    expect(() => open()).toThrow(/newer version/);
    expect(existsSync(`${file}.damaged`)).toBe(false);
  });
});

describe('a damaged store', () => {
  const damage = {
    'text instead of a database': () =>
      writeFileSync(file, 'not a database at all, but long enough to be one '.repeat(50)),
    'cut short': () => truncateSync(file, 5000),
    'overwritten inside': () => writeFileSync(file, Buffer.alloc(3 * 4096, 0x5a), { flag: 'r+' }),
  };
  for (const [what, harm] of Object.entries(damage)) {
    test(`${what}: is set aside and the last good copy goes on`, async () => {
      const first = open();
      await first.write(addTopic('old'));
      await first.close();
      await open().close();
      harm();
      const said: string[] = [];
      const store = open({
        ...silentLog,
        child: () => ({
          ...silentLog,
          error: (_, text) => said.push(text),
          warn: (_, text) => said.push(text),
        }),
      });
      expect(store.read((sql) => sql.all(topics))).toEqual([{ topic: 'old' }]);
      expect(said.join()).toMatch(/damaged and was set aside.*last good start/);
      expect(existsSync(`${file}.damaged`)).toBe(true);
      expect(store.completeness).toBe('copy');
      await store.close();
    });
  }

  test('without a usable copy: goes on empty', async () => {
    await open().close();
    writeFileSync(file, 'x'.repeat(9000));
    writeFileSync(`${file}.last-good`, 'y'.repeat(9000));
    const store = open();
    expect(store.completeness).toBe('empty');
    await store.write(addTopic('new'));
    expect(store.read((sql) => sql.all(topics))).toEqual([{ topic: 'new' }]);
    await store.close();
  });
});

function openAt(path: string): Database.Database {
  return new Database(path);
}
