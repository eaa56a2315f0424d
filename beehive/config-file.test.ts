import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { parseConfig } from './config-file.ts';
import { ConfigError } from './errors.ts';

const format = {
  schema: z.strictObject({
    modules: z
      .strictObject({
        edgeHub: z.strictObject({ heartbeat: z.number().int().positive().default(15) }).prefault({}),
      })
      .prefault({}),
  }),
  unused: ['modules.dbTest', 'modules.edgeHub.quic'],
};

function issuesOf(text: string): readonly { path: string; reason: string }[] {
  try {
    parseConfig(text, 'edgecore.yaml', format);
  } catch (error) {
    if (error instanceof ConfigError) return error.detail.issues;
    throw error;
  }
  return [];
}

describe('a config file', () => {
  it('gets defaults for what it does not say', () => {
    expect(parseConfig('', 'f', format)).toEqual({
      config: { modules: { edgeHub: { heartbeat: 15 } } },
      unused: [],
    });
  });

  it('names each known field without a use, once, and goes on', () => {
    const loaded = parseConfig(
      'modules: {dbTest: {enable: true}, edgeHub: {heartbeat: 20, quic: {enable: false}}}',
      'f',
      format,
    );
    expect(loaded.unused).toEqual(['modules.dbTest', 'modules.edgeHub.quic']);
    expect(loaded.config.modules.edgeHub.heartbeat).toBe(20);
  });

  it('is refused with the path of an unknown field', () => {
    expect(issuesOf('modules: {edgeHub: {heartbeet: 3}}')).toEqual([
      { path: 'modules.edgeHub.heartbeet', reason: 'unknown field; remove it, or check its spelling' },
    ]);
  });

  it('is refused with the path of a wrong value', () => {
    expect(issuesOf('modules: {edgeHub: {heartbeat: fast}}').map((issue) => issue.path)).toEqual([
      'modules.edgeHub.heartbeat',
    ]);
  });

  it.each(['a: [', `a: &a [x,x]\n${'b: '}${'*a '}`, '"__proto__": {x: 1}', '[]', '7', 'null: 1'])(
    '%s does no harm',
    (text) => {
      try {
        parseConfig(text, 'f', format);
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError);
      }
      expect({}).not.toHaveProperty('x');
    },
  );

  it('does not unfold a bomb of aliases', () => {
    const lines = ['a0: &a0 [x,x,x,x,x,x,x,x,x]'];
    for (let n = 1; n < 12; n += 1)
      lines.push(
        `a${n}: &a${n} [${Array(9)
          .fill(`*a${n - 1}`)
          .join(',')}]`,
      );
    expect(() => parseConfig(lines.join('\n'), 'bomb.yaml', format)).toThrow(ConfigError);
  });
});
