/**
 * What rules of the cloud asked of this edge: MQTT topics to listen to (table sub_topics), and URLs that local apps may
 * ask for through ServiceBus (table target_urls).
 */

import type { Sql } from './connection.ts';

export function loadTopics(sql: Sql): string[] {
  return sql.all<{ topic: string }>('SELECT topic FROM sub_topics ORDER BY topic').map((row) => row.topic);
}

export function saveTopic(sql: Sql, topic: string): void {
  sql.run('INSERT INTO sub_topics (topic) VALUES (?) ON CONFLICT (topic) DO NOTHING', topic);
}

export function deleteTopic(sql: Sql, topic: string): void {
  sql.run('DELETE FROM sub_topics WHERE topic = ?', topic);
}

export function loadUrls(sql: Sql): string[] {
  return sql.all<{ url: string }>('SELECT url FROM target_urls ORDER BY url').map((row) => row.url);
}

export function saveUrl(sql: Sql, url: string): void {
  sql.run('INSERT INTO target_urls (url) VALUES (?) ON CONFLICT (url) DO NOTHING', url);
}

export function deleteUrl(sql: Sql, url: string): void {
  sql.run('DELETE FROM target_urls WHERE url = ?', url);
}
