import { describe, expect, it } from 'vitest';
import { applySet } from './set-flag.ts';

describe('--set', () => {
  it('types its values as KubeEdge does', () => {
    const changed = applySet({ modules: { edgeHub: { heartbeat: 15 } } }, [
      'modules.edgeHub.heartbeat=20,modules.edged.nodeLabels={site:hz,tier:2}',
      'modules.cloudHub.advertiseAddress={10.0.0.1,10.0.0.2}',
      'modules.edgeHub.enable=false,name=a=b',
    ]);
    expect(changed).toEqual({
      name: 'a=b',
      modules: {
        edgeHub: { heartbeat: 20, enable: false },
        edged: { nodeLabels: { site: 'hz', tier: 2 } },
        cloudHub: { advertiseAddress: ['10.0.0.1', '10.0.0.2'] },
      },
    });
  });

  it('sets an item of a list by its index', () => {
    expect(applySet({ list: [{ a: 1 }, { a: 2 }] }, ['list[1].a=3'])).toEqual({ list: [{ a: 1 }, { a: 3 }] });
  });

  it.each(['novalue', '=1', '__proto__.x=1', 'a.constructor.b=1'])('refuses %s and says why', (text) => {
    expect(() => applySet({}, [text])).toThrow(/--set/);
    expect({}).not.toHaveProperty('x');
  });

  it('leaves the given config as it was', () => {
    const config = { a: { b: 1 } };
    applySet(config, ['a.b=2']);
    expect(config).toEqual({ a: { b: 1 } });
  });
});
