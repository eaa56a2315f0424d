import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { daemonArgv } from './host.ts';

describe('how a daemon is started', () => {
  it('keeps cloudcore’s heap small with flags that this Node knows, and gives the bundle its arguments', () => {
    const [node, ...rest] = daemonArgv('cloudcore', '--config', 'cloudcore.yaml');
    const at = rest.findIndex((argument) => argument.endsWith('cloudcore.js'));
    expect(rest.slice(at + 1)).toEqual(['--config', 'cloudcore.yaml']);
    const flags = rest.slice(0, at);
    expect(flags).toContainEqual(expect.stringMatching(/^--heap-growing-percent=\d+$/));
    const limit = 'process.stdout.write(String(require("v8").getHeapStatistics().heap_size_limit > 0))';
    expect(execFileSync(node, [...flags, '-e', limit], { encoding: 'utf8' })).toBe('true');
  });

  it('starts an edgecore as it is', () => {
    expect(daemonArgv('edgecore')).toEqual([process.execPath, expect.stringMatching(/edgecore\.js$/)]);
  });
});
