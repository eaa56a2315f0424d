/**
 * The tables of the edge's database, as a list of steps that is only ever appended to: the file's user_version
 * says how many it has had. The names up to target_urls are KubeEdge's (wire 7.1), so that its file can be taken
 * over and its tools can read ours; columns and tables of our own come after them.
 */

export const migrations: readonly string[] = [
  `
  CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, type TEXT NOT NULL, value TEXT NOT NULL);
  CREATE TABLE IF NOT EXISTS meta_v2 (
    key TEXT PRIMARY KEY, group_version_resource TEXT, namespace TEXT, name TEXT,
    resource_version INTEGER, value TEXT
  );
  CREATE TABLE IF NOT EXISTS device (
    id TEXT PRIMARY KEY, name TEXT, description TEXT, state TEXT, last_online TEXT
  );
  CREATE TABLE IF NOT EXISTS device_attr (
    id INTEGER PRIMARY KEY AUTOINCREMENT, deviceid TEXT, name TEXT, description TEXT, value TEXT,
    optional INTEGER, attr_type TEXT, metadata TEXT
  );
  CREATE TABLE IF NOT EXISTS device_twin (
    id INTEGER PRIMARY KEY AUTOINCREMENT, deviceid TEXT, name TEXT, description TEXT,
    expected TEXT, actual TEXT, expected_meta TEXT, actual_meta TEXT,
    expected_version TEXT, actual_version TEXT, optional INTEGER, attr_type TEXT, metadata TEXT
  );
  CREATE TABLE IF NOT EXISTS sub_topics (topic TEXT PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS target_urls (url TEXT PRIMARY KEY);
  `,
  // What an object row is a copy of; null in rows that KubeEdge wrote, then it is read from the value.
  `
  ALTER TABLE meta ADD COLUMN uid TEXT;
  ALTER TABLE meta ADD COLUMN resource_version TEXT;
  CREATE INDEX meta_type ON meta (type);
  CREATE INDEX device_attr_deviceid ON device_attr (deviceid);
  CREATE INDEX device_twin_deviceid ON device_twin (deviceid);
  `,
  // Reports that the cloud has not confirmed: which value is the newest, not the value itself. kind is twin or
  // state; name is the property, empty for state. A confirmation removes the row only if revision is still its.
  `
  CREATE TABLE twin_unsynced (
    deviceid TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, revision INTEGER NOT NULL,
    PRIMARY KEY (deviceid, kind, name)
  ) WITHOUT ROWID;
  `,
  // outbox: numbered upstream messages, kept until the cloud has them. session: what the edge knows of its cloud.
  `
  CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL, envelope TEXT NOT NULL);
  CREATE TABLE session (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
  `,
  // uid: the Device object a row stands for. declared_type: the type that the DeviceModel gives a property of the
  // spec. applied_desired: the desired value of the spec that was last taken over as expected.
  `
  ALTER TABLE device ADD COLUMN uid TEXT;
  ALTER TABLE device_twin ADD COLUMN declared_type TEXT;
  ALTER TABLE device_twin ADD COLUMN applied_desired TEXT;
  DELETE FROM device_twin WHERE id NOT IN (SELECT max(id) FROM device_twin GROUP BY deviceid, name);
  DELETE FROM device_attr WHERE id NOT IN (SELECT max(id) FROM device_attr GROUP BY deviceid, name);
  CREATE UNIQUE INDEX device_twin_key ON device_twin (deviceid, name);
  CREATE UNIQUE INDEX device_attr_key ON device_attr (deviceid, name);
  `,
  // Messages of an older version lie readable, and are found by the index until the start has sealed them.
  `
  ALTER TABLE outbox ADD COLUMN sealed INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX outbox_readable ON outbox (id) WHERE sealed = 0;
  `,
  // lane: what waits for one receiver in the cloud and holds up nothing else; order is kept within it.
  `
  ALTER TABLE outbox ADD COLUMN lane TEXT NOT NULL DEFAULT 'events';
  CREATE INDEX outbox_lane ON outbox (lane, id);
  `,
];
