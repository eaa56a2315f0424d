/** Every cap of the API server, with what happens when it is hit. */

export const limits = {
  /** A larger request body is answered 413. */
  bodyBytes: 3 * 1024 * 1024,
  /** A larger request head is answered 431 by Node. */
  headerBytes: 64 * 1024,
  /** A body nested deeper is answered 400. */
  depth: 256,
  /** Further connections are closed at once. */
  connections: 4096,
  /** A connection whose TLS handshake has not ended by then is closed. */
  handshakeMs: 10_000,
  /** A request whose head has not arrived by then, or its body by the second, is answered 408. */
  headMs: 20_000,
  requestMs: 60_000,
  /** How late those times may be. */
  checkEveryMs: 2_000,
  /** A connection without a request is closed. */
  keepAliveMs: 90_000,
  /** Further watches are answered 429. */
  watches: 10_000,
  /** A watch that names no timeout ends after a random time between this and twice this. */
  watchMs: 30 * 60_000,
  /** A watch that asked for bookmarks and saw no event for this long gets one. */
  bookmarkMs: 60_000,
  /** Events a watch reads from the log at a time. */
  watchBatch: 200,
  /** Events per resource kept in memory for watches; older ones are read from the log. */
  recentEvents: 1_000,
  /** And so much of their JSON, since a few large objects weigh more than a thousand small ones. */
  recentEventBytes: 16 * 1024 * 1024,
  /** Superseded rows of the log older than this are compacted; a watch or list from before is answered 410. */
  historyMs: 10 * 60_000,
  /** When more superseded rows than this are kept, the oldest go even if they are younger. */
  historyRows: 50_000,
  compactEveryMs: 60_000,
  /** Items a list answers at most when the client names no limit: all of them. With a limit: this many. */
  listItems: 10_000,
  /** Events are deleted when they are this old. */
  eventMs: 60 * 60_000,
  /** An object whose JSON is larger is answered 413. */
  objectBytes: 2 * 1024 * 1024,
  /** A JSON patch whose copies add up to more is answered 413. */
  copiedChars: 2 * 1024 * 1024,
  annotationsBytes: 256 * 1024,
  generateNameTries: 8,
  /** A longer bearer token is none: ours have about 1,000 characters. */
  tokenChars: 16 * 1024,
  tokenSeconds: { shortest: 600, standard: 3_600, longest: 365 * 24 * 3_600 },
} as const;
