/** The MQTT topics that rules asked the edge to listen to (table sub_topics). */

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
