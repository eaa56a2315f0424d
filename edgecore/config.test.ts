import { describe, expect, test } from 'vitest';
import { parseConfig } from '#beehive/config-file.ts';
import { ConfigError } from '#beehive/errors.ts';
import { edgecoreFormat } from './config.ts';

const parse = (text: string) => parseConfig(text, 'edgecore.yaml', edgecoreFormat);
const issuesOf = (text: string) => {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof ConfigError) return error.detail.issues;
    throw error;
  }
  throw new Error('it was taken');
};

test('an empty file has the defaults of KubeEdge', () => {
  const { config, unused } = parse('');
  expect(unused).toEqual([]);
  expect(config.database.dataSource).toBe('/var/lib/kubeedge/edgecore.db');
  expect(config.modules.edgeHub).toMatchObject({
    heartbeat: 15,
    messageQPS: 30,
    messageBurst: 60,
    projectID: 'e632aba927ea4ac2b575ec1603d56f10',
    tlsCaFile: '/etc/kubeedge/ca/rootCA.crt',
    tlsCertFile: '/etc/kubeedge/certs/server.crt',
    tlsPrivateKeyFile: '/etc/kubeedge/certs/server.key',
    token: '',
    websocket: { enable: true, handshakeTimeout: 30, readDeadline: 15, writeDeadline: 15 },
  });
  expect(config.modules.metaManager.remoteQueryTimeout).toBe(60);
});

test('a file as KubeEdge writes it is taken, and what does nothing is named once', () => {
  const { config, unused } = parse(`
apiVersion: edgecore.config.kubeedge.io/v1alpha2
kind: EdgeCore
database: {driverName: sqlite3, aliasName: default, dataSource: /var/lib/kubeedge/edgecore.db}
edgecoreVersion: 1.23.0
featureGates: {requireAuthorization: false}
modules:
  dbTest: {enable: false}
  deviceTwin: {dmiSockPath: /etc/kubeedge/, enable: true}
  edgeHub:
    enable: true
    heartbeat: 15
    httpServer: https://10.0.0.1:10002
    messageBurst: 60
    messageQPS: 30
    projectID: e632aba927ea4ac2b575ec1603d56f10
    quic: {enable: false, handshakeTimeout: 30, readDeadline: 15, server: "10.0.0.1:10001", writeDeadline: 15}
    rotateCertificates: true
    tlsCaFile: /etc/kubeedge/ca/rootCA.crt
    tlsCertFile: /etc/kubeedge/certs/server.crt
    tlsPrivateKeyFile: /etc/kubeedge/certs/server.key
    token: ""
    websocket: {enable: true, handshakeTimeout: 30, readDeadline: 15, server: "10.0.0.1:10000", writeDeadline: 15}
  edgeStream: {enable: false, handshakeTimeout: 30, readDeadline: 15, server: "10.0.0.1:10004", tlsTunnelCAFile: a, tlsTunnelCertFile: b, tlsTunnelPrivateKeyFile: c, writeDeadline: 15}
  edged:
    enable: true
    hostnameOverride: edge-1
    maxContainerCount: -1
    maxPerPodContainerCount: 1
    minimumGCAge: 0s
    podSandboxImage: kubeedge/pause:3.6
    registerNodeNamespace: default
    registerSchedulable: true
    rootDirectory: /var/lib/kubelet
    tailoredKubeletConfig:
      address: 127.0.0.1
      cgroupDriver: cgroupfs
      imageGCHighThresholdPercent: 85
      maxPods: 110
      readOnlyPort: 10350
      staticPodPath: /etc/kubeedge/manifests
  eventBus: {enable: true, mqttMode: 2, mqttServerExternal: "tcp://127.0.0.1:1883", mqttServerInternal: "tcp://127.0.0.1:1884"}
  metaManager: {contextSendGroup: hub, contextSendModule: websocket, enable: true, metaServer: {enable: false, server: "127.0.0.1:10550"}, remoteQueryTimeout: 60}
  serviceBus: {enable: false, port: 9060, server: 127.0.0.1, timeout: 60}
  taskManager: {enable: false}
`);
  expect(config.modules.edgeHub.websocket.server).toBe('10.0.0.1:10000');
  expect(unused).toEqual(expect.arrayContaining(['featureGates', 'modules.metaManager.metaServer']));
});

test('an empty cgroupDriver, as others write it, says nothing', () => {
  const yaml = (driver: string) => `modules: {edged: {tailoredKubeletConfig: {cgroupDriver: ${driver}}}}`;
  const driverOf = (text: string) =>
    parseConfig(text, 'edgecore.yaml', edgecoreFormat).config.modules.edged.tailoredKubeletConfig
      .cgroupDriver;
  expect(driverOf(yaml('""'))).toBeUndefined();
  expect(driverOf(yaml('systemd'))).toBe('systemd');
  expect(() => driverOf(yaml('other'))).toThrow(/cgroupDriver/);
});

describe('what is refused, with its path and the way out', () => {
  test.each([
    ['modules: {edgeHub: {heartbeet: 15}}', 'modules.edgeHub.heartbeet', /unknown field/],
    [
      'modules: {edgeHub: {quic: {enable: true}}}',
      'modules.edgeHub.quic.enable',
      /QUIC is not in this build/,
    ],
    [
      'modules: {edgeHub: {websocket: {enable: false}}}',
      'modules.edgeHub.websocket.enable',
      /exactly one transport/,
    ],
    ['modules: {edgeHub: {httpServer: "http://10.0.0.1:10002"}}', 'modules.edgeHub.httpServer', /https:/],
    [
      'modules: {edgeHub: {websocket: {server: "10.0.0.1"}}}',
      'modules.edgeHub.websocket.server',
      /host:port/,
    ],
    ['modules: {metaManager: {enable: false}}', 'modules.metaManager.enable', /cannot be switched off/],
    ['kind: CloudCore', 'kind', /EdgeCore/],
  ])('%s', (text, path, reason) => {
    expect(issuesOf(text)).toEqual([{ path, reason: expect.stringMatching(reason) }]);
  });
});
