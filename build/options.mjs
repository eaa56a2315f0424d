// How things are bundled. Packages that hold a native addon stay outside.

export const bundleOptions = {
  bundle: true,
  platform: 'node',
  target: 'node20',
  format: 'esm',
  splitting: true,
  chunkNames: 'chunks/[name]-[hash]',
  // Lazily imported CommonJS keeps only its default export when the bundle is split.
  mainFields: ['module', 'main'],
  external: ['better-sqlite3'],
  // Its CommonJS form, imported lazily from a split bundle, has no named exports.
  alias: { '@peculiar/x509': '@peculiar/x509/build/x509.es.js' },
  // CommonJS packages inside the bundle ask for `require`.
  banner: {
    js: "import { createRequire as createRequireOfBundle } from 'node:module'; const require = createRequireOfBundle(import.meta.url);",
  },
  logLevel: 'warning',
};
