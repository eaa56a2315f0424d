import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Log, silentLog } from '#beehive/log.ts';
import { newEnvelope } from '#protocol/message.ts';
import { openDatabase, type Store } from './database.ts';
import { MetaStore } from './meta-store.ts';
import { OutboxStore } from './outbox-store.ts';
import { openSealKey, sealedValues } from './sealed-values.ts';

const password = 'correct-horse-battery-staple';
const rows = {
  secret: 'default/secret/login',
  serviceaccounttoken: 'default/serviceaccounttoken/default',
  device: 'default/device/plc',
  devicemodel: 'default/devicemodel/plc',
};
let dir: string;
let file: string;
let keyFile: string;
let said: { level: string; text: string }[];

const log: Log = {
  ...silentLog,
  child: () => log,
  info: (_, text) => said.push({ level: 'info', text }),
  warn: (_, text) => said.push({ level: 'warn', text }),
  error: (_, text) => said.push({ level: 'error', text }),
};

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hawser-seal-'));
  file = join(dir, 'lib', 'edgecore.db');
  keyFile = join(dir, 'etc', 'edge-seal.key');
  said = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const openPlain = () => openDatabase(file, { log });
const openSealed = () => openDatabase(file, { log, codec: sealedValues(openSealKey(keyFile, { log })) });

async function fill(store: Store): Promise<void> {
  await new MetaStore(store, { log }).write((meta) => {
    for (const [type, key] of Object.entries(rows))
      meta.put({ key, type, value: { data: password }, uid: `uid-${type}`, resourceVersion: '7' });
    meta.put({
      key: 'default/configmap/c',
      type: 'configmap',
      value: { data: 'plain' },
      uid: 'c',
      resourceVersion: '1',
    });
  });
}

const outgoing = newEnvelope(
  { source: 'bus', group: 'user', operation: 'upload', resource: 'SYS/dis/upload_records' },
  `login with ${password}`,
);
const waiting = async (store: Store) =>
  (await new OutboxStore(store, { log }).first(10)).map(({ envelope }) => envelope);

const held = (store: Store) =>
  new MetaStore(store, { log }).read((meta) => meta.held().map(({ path }) => path));
const read = (store: Store, key: string) =>
  new MetaStore(store, { log }).read((meta) => meta.get(key)?.value);

/** Files below the directory that hold the text. */
function filesWith(text: string): string[] {
  return readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => readFileSync(path).includes(text));
}

describe('sealed values', () => {
  test('come back as they were, and are in no file: database, WAL, or copy', async () => {
    const first = openSealed();
    await fill(first);
    expect(await new OutboxStore(first, { log }).append(outgoing)).toBe('kept');
    for (const key of Object.values(rows)) expect(read(first, key)).toEqual({ data: password });
    expect(readdirSync(join(dir, 'lib'))).toContain('edgecore.db-wal');
    expect([filesWith(password), filesWith('"plain"')]).toEqual([[], [`${file}-wal`]]);
    await first.close();
    const second = openSealed();
    await second.copied;
    expect(read(second, rows.secret)).toEqual({ data: password });
    expect(await waiting(second)).toEqual([outgoing]);
    expect([second.completeness, filesWith(password)]).toEqual(['whole', []]);
    expect(filesWith('"plain"').sort()).toEqual([file, `${file}.last-good`]);
    await second.close();
    expect(said).toEqual([]);
  });

  test('that an older version or KubeEdge wrote readable are sealed at the next start, traces included', async () => {
    const before = openPlain();
    await fill(before);
    await before.write((sql) =>
      sql.run(
        "INSERT INTO meta_v2 VALUES ('/core/v1/secrets/default/login', '/v1, Resource=secrets', 'default', 'login', 1, ?)",
        password,
      ),
    );
    const outbox = new OutboxStore(before, { log });
    for (let round = 0; round < 150; round += 1) await outbox.append(outgoing);
    await before.write((sql) =>
      sql.run('INSERT INTO outbox (bytes, envelope) VALUES (40, ?)', `no JSON, with ${password}`),
    );
    await before.close();
    await openPlain().close();
    writeFileSync(`${file}.damaged`, password);
    expect(filesWith(password).sort()).toEqual([file, `${file}.damaged`, `${file}.last-good`]);
    const store = openSealed();
    await store.copied;
    expect(filesWith(password)).toEqual([]);
    for (const key of Object.values(rows)) expect(read(store, key)).toEqual({ data: password });
    expect(await waiting(store)).toEqual(Array.from({ length: 10 }, () => outgoing));
    expect(store.completeness).toBe('whole');
    await store.close();
    expect(said.map(({ text }) => text)).toEqual(['what was stored readable is sealed now']);
  });

  test.each([
    ['is lost', () => rmSync(keyFile)],
    ['is another', () => writeFileSync(keyFile, Buffer.alloc(32, 7).toString('base64'))],
    ['is damaged', () => writeFileSync(keyFile, 'no key at all')],
  ])(
    'whose key %s are dropped with one warning; the rest stays, and the cloud is asked again',
    async (_, harm) => {
      const first = openSealed();
      await fill(first);
      await first.close();
      harm();
      const second = openSealed();
      expect(said.filter(({ level }) => level === 'warn').map(({ text }) => text)).toEqual([
        expect.stringMatching(/dropped; the cloud sends them again/),
      ]);
      expect([second.completeness, held(second)]).toEqual(['copy', ['default/configmap/c']]);
      await fill(second);
      await second.close();
      said = [];
      const third = openSealed();
      expect([third.completeness, read(third, rows.secret), said]).toEqual(['whole', { data: password }, []]);
      await third.close();
    },
  );

  test('open under their own name only', async () => {
    const first = openSealed();
    await fill(first);
    const outbox = new OutboxStore(first, { log });
    for (const resource of ['a', 'b', 'c'])
      await outbox.append({ ...outgoing, route: { ...outgoing.route, resource } });
    await first.close();
    const raw = new Database(file);
    raw.exec('UPDATE outbox SET envelope = (SELECT envelope FROM outbox WHERE id = 1) WHERE id = 2');
    raw.exec("UPDATE meta SET value = (SELECT value FROM meta WHERE type = 'secret') WHERE type = 'device'");
    raw.close();
    const second = openSealed();
    expect([read(second, rows.device), read(second, rows.secret)]).toEqual([undefined, { data: password }]);
    expect((await waiting(second)).map(({ route }) => route.resource)).toEqual(['a', 'c']);
    await second.close();
  });

  test('the key is for its owner alone, and stays the same', () => {
    const key = openSealKey(keyFile, { log });
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    writeFileSync(keyFile, readFileSync(keyFile), { mode: 0o644 });
    expect(openSealKey(keyFile, { log })).toEqual(Buffer.from(key));
    expect(readdirSync(join(dir, 'etc'))).toEqual(['edge-seal.key']);
  });
});
