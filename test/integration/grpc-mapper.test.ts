/** DMI with a peer on another implementation of gRPC than ours, in place of a mapper of KubeEdge's, which is built in Go. */

import { spawn, spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { TestEdge } from '#edgecore/devicetwin/test-edge.ts';
import { describeUnless } from '../describe-unless.ts';
import { dmiMessages } from '../dmi-messages.ts';

const python = '/usr/bin/python3';
const needsGrpc =
  spawnSync(python, ['-c', 'import grpc']).status === 0
    ? undefined
    : "needs Python's gRPC (apt-get install python3-grpcio)";

const device = (name: string) => ({
  metadata: { name, namespace: 'default', uid: name },
  spec: {
    deviceModelRef: { name: 'm' },
    nodeName: 'edge-1',
    protocol: { protocolName: 'modbus', configData: { ip: '10.0.0.9', port: 502 } },
    properties: [{ name: 'temperature', reportToCloud: true }],
  },
});
const model = {
  metadata: { name: 'm', namespace: 'default', uid: 'm' },
  spec: { protocol: 'modbus', properties: [{ name: 'temperature', type: 'INT', accessMode: 'ReadOnly' }] },
};

describeUnless(needsGrpc, 'a mapper on another gRPC', () => {
  test('registers, is told of its devices, reports, and is refused by status', async () => {
    const edge = new TestEdge({ dmi: true, lease: { pingEveryMs: 100, leaseMs: 60_000 } });
    edge.held.devicemodel.push(model);
    edge.held.device.push(device('t1'));
    await edge.start();
    edge.link(true);
    const sockets = [join(edge.dir, 'dmi.sock'), join(edge.dir, 'python.sock')];
    const mapper = spawn(python, [join(import.meta.dirname, 'grpc-mapper.py'), ...sockets], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const lines = createInterface({ input: mapper.stdout });
    const said = new Map<string, string>();
    let look = () => {};
    lines.on('line', (line) => {
      const [what = '', rest = ''] = line.split(' ');
      said.set(what, rest);
      look();
    });
    const says = (what: string) =>
      new Promise<string>((resolve) => {
        look = () => {
          const rest = said.get(what);
          if (rest !== undefined) resolve(rest);
        };
        look();
      });
    try {
      expect(read('MapperRegisterResponse', await says('registered'))).toMatchObject({
        modelList: [
          { name: 'm', namespace: 'default', spec: { properties: [{ name: 'temperature', type: 'INT' }] } },
        ],
        deviceList: [{ name: 't1', namespace: 'default', spec: { protocol: { protocolName: 'modbus' } } }],
      });
      expect(await says('refused')).toBe('NOT_FOUND');
      await edge.until(() =>
        JSON.stringify(edge.published).includes('"temperature":{"actual":{"value":"21"'),
      );
      await edge.until(() => JSON.stringify(edge.published).includes('"state":"online"'));
      edge.object('insert', 'default/device/t2', device('t2'));
      const told = read('RegisterDeviceRequest', await says('/v1beta1.DeviceMapperService/RegisterDevice'));
      expect(told).toMatchObject({ device: { name: 't2', spec: { deviceModelReference: 'm' } } });
      edge.object('delete', 'default/device/t2', device('t2'));
      const gone = read('RemoveDeviceRequest', await says('/v1beta1.DeviceMapperService/RemoveDevice'));
      expect(gone).toEqual({ deviceName: 't2', deviceNamespace: 'default' });
    } finally {
      const exited = new Promise((resolve) => mapper.once('exit', resolve));
      mapper.kill('SIGKILL');
      await exited;
      await edge.end();
    }
  });
});

function read(name: string, hex: string): object {
  const type = dmiMessages.lookupType(`v1beta1.${name}`);
  return type.toObject(type.decode(Buffer.from(hex, 'hex')));
}
