/**
 * Rules from end to end, on whichever API and both brokers: two edges, one with its own broker and one with mosquitto,
 * mosquitto's own clients, and HTTP. Every daemon is a real process.
 */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { KubeApi } from '#cloudcore/kube/kube-api.ts';
import { askHttp, HttpTarget } from '#test/fixtures/http-target.ts';
import { MosquittoBroker, MosquittoSubscriber, mosquittoPublish } from '#test/fixtures/mosquitto.ts';
import { freePorts } from '#test/free-port.ts';
import { eventually, Workspace } from './workspace.ts';

const rulesVersion = 'rules.kubeedge.io/v1';
const megabyte = 1024 * 1024;

export function describeRules(title: string, { kubeConfig }: { readonly kubeConfig?: string }): void {
  describe(title, () => {
    // Names of their own, so that a cluster that is used again holds nothing in the way.
    const run = Math.random().toString(36).slice(2, 8);
    const namespace = 'default';
    const own = (name: string) => `${name}-${run}`;
    const brokers: Record<string, number> = {};
    const app = new HttpTarget();
    const store = new HttpTarget();
    let space: Workspace;
    let api: KubeApi;
    let routerPort: number;
    let mosquitto: MosquittoBroker;

    const refOf = (plural: string) => ({ apiVersion: rulesVersion, plural, namespace });
    const addRule = async (name: string, from: [string, object], to: [string, object]) => {
      const [source, target] = [own(from[0]), own(to[0])];
      const spec = { source, sourceResource: from[1], target, targetResource: to[1] };
      await api.create(refOf('rules'), {
        apiVersion: rulesVersion,
        kind: 'Rule',
        metadata: { name: own(name), namespace },
        spec,
      });
    };
    /** Once the rule is known, and the node is there. */
    const ask = (method: string, path: string, body = '') =>
      eventually(`${method} ${path}`, 60_000, async () => {
        const answer = await askHttp(routerPort, method, path, { body });
        return /no rule|not connected|no node/.test(answer.body) ? undefined : answer;
      });

    beforeAll(async () => {
      space = await Workspace.open();
      if (kubeConfig !== undefined) space.useKubeConfig(kubeConfig);
      const [router = 0, embedded = 0, external = 0, apps = 0, otherApps = 0] = await freePorts(5);
      routerPort = router;
      await Promise.all([app.listen(), store.listen()]);
      mosquitto = new MosquittoBroker(external, space.dir);
      await mosquitto.start();
      const flags = kubeConfig === undefined ? [] : ['--kube-config', kubeConfig];
      const made = await space.init('--set', `modules.router.port=${router}`, ...flags);
      expect(made, made.stderr + made.stdout).toMatchObject({ code: 0, stderr: '' });
      api = await space.api();
      const token = await space.token();
      const joins = [
        [own('own'), embedded, `mqttMode=0,modules.eventBus.mqttServerInternal`, apps],
        [own('mosquitto'), external, `mqttMode=2,modules.eventBus.mqttServerExternal`, otherApps],
      ] as const;
      for (const [node, port, fields, appPort] of joins) {
        brokers[node] = port;
        const set = `modules.eventBus.${fields}=tcp://127.0.0.1:${port},modules.serviceBus.port=${appPort}`;
        const joined = await space.join(node, token, '--set', set);
        expect(joined, joined.stderr + joined.stdout).toMatchObject({ code: 0, stderr: '' });
      }
      for (const [name, ruleEndpointType, properties] of [
        ['cloud', 'rest', {}],
        ['mqtt', 'eventbus', {}],
        ['app', 'servicebus', { service_port: String(app.port) }],
      ] as const)
        await api.create(refOf('ruleendpoints'), {
          apiVersion: rulesVersion,
          kind: 'RuleEndpoint',
          metadata: { name: own(name), namespace },
          spec: { ruleEndpointType, properties },
        });
      await addRule('call', ['cloud', { path: `/${run}/call/{id}` }], ['app', { path: '/api' }]);
      await addRule('say', ['cloud', { path: `/${run}/say` }], ['mqtt', { topic: 'commands' }]);
      await addRule('twice', ['cloud', { path: `/${run}/say` }], ['mqtt', { topic: 'other' }]);
    });

    afterAll(async () => {
      for (const name of ['call', 'say', 'twice', 'collect-own', 'collect-mosquitto'])
        await api?.delete({ ...refOf('rules'), name: own(name) }).catch(() => {});
      for (const name of ['cloud', 'mqtt', 'app'])
        await api?.delete({ ...refOf('ruleendpoints'), name: own(name) }).catch(() => {});
      await space?.close();
      await mosquitto?.stop();
      await Promise.all([app.close(), store.close()]);
    });

    it('a rule that wants what another has says so in its status', async () => {
      await eventually('the reason', 60_000, async () => {
        const { status } = await api.get({ ...refOf('rules'), name: own('twice') });
        return JSON.stringify(status ?? {}).includes('refused: path') ? true : undefined;
      });
    });

    it.each(['own', 'mosquitto'])(
      '%s: an app gets body and headers; a megabyte passes and no byte more (SC-61)',
      async (name) => {
        const node = own(name);
        const path = `/${node}/${namespace}/${run}/call/7/items`;
        app.answer = ({ body }) => ({ status: 201, body: `${body.length}`, headers: { 'X-App': 'yes' } });
        const heard = app.heard.length;
        expect(await ask('POST', path, 'x'.repeat(megabyte))).toMatchObject({
          status: 201,
          body: String(megabyte),
          headers: { 'x-app': 'yes' },
        });
        expect((await ask('POST', path, 'x'.repeat(megabyte + 1))).status).toBe(413);
        expect(app.heard.slice(heard).map(({ url }) => url)).toEqual(['/api/items']);
      },
    );

    it.each(['own', 'mosquitto'])(
      '%s: what is posted is published, and what is published is posted',
      async (name) => {
        const node = own(name);
        const port = brokers[node] ?? 0;
        const subscriber = await MosquittoSubscriber.start(port, ['-t', 'commands/#', '-q', '1']);
        expect(await ask('POST', `/${node}/${namespace}/${run}/say/hall`, 'on')).toMatchObject({
          status: 200,
        });
        expect(await subscriber.take('commands/hall')).toMatchObject({ payload: 'on' });
        await subscriber.stop();

        const topic = `sensors-${run}/+/temp`;
        const resource = `http://127.0.0.1:${store.port}/${name}`;
        await addRule(`collect-${name}`, ['mqtt', { topic, node_name: node }], ['cloud', { resource }]);
        const got = () => store.heard.filter(({ url }) => url === `/${name}`).map(({ body }) => body);
        // The edge hears of the rule a moment later.
        await eventually('the first upload', 60_000, async () => {
          await mosquittoPublish(port, `default/sensors-${run}/7/temp`, 'first', ['-q', '1']);
          return got().length > 0 ? true : undefined;
        });
        for (const text of ['21', '22', '23'])
          await mosquittoPublish(port, `default/sensors-${run}/7/temp`, text, ['-q', '1']);
        await store.until(() => got().includes('23'));
        expect(got().filter((text) => text !== 'first')).toEqual(['21', '22', '23']);
        await eventually('the counters', 60_000, async () => {
          const { status } = await api.get({ ...refOf('rules'), name: own(`collect-${name}`) });
          const { successMessages } = (status ?? {}) as { successMessages?: number };
          return successMessages === got().length ? true : undefined;
        });
      },
    );

    it('what is published while cloudcore is away reaches the target when it is back, in order and once', async () => {
      const node = own('own');
      const port = brokers[node] ?? 0;
      const { daemon } = await space.service(space.cloudDir, 'cloudcore');
      process.kill(daemon, 'SIGKILL');
      const texts = Array.from({ length: 20 }, (_, at) => `away-${at}`);
      for (const text of texts)
        await mosquittoPublish(port, `default/sensors-${run}/8/temp`, text, ['-q', '1']);
      const got = () =>
        store.heard.filter(({ headers }) => headers['hawser-topic'] === `default/sensors-${run}/8/temp`);
      await store.until(() => got().length >= texts.length);
      expect(got().map(({ body }) => body)).toEqual(texts);
    });
  });
}
