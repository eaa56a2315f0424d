import { describe, expect, it } from 'vitest';
import { parseConfig } from '#beehive/config-file.ts';
import { authorizes, cloudHubOptions } from './cloudhub/config.ts';
import { absentModules, cloudcoreConfigFormat } from './config.ts';

function parse(text: string) {
  return parseConfig(text, 'cloudcore.yaml', cloudcoreConfigFormat);
}

const kubeEdgeFile = `
apiVersion: cloudcore.config.kubeedge.io/v1alpha2
kind: CloudCore
commonConfig: {tunnelPort: 10350, monitorServer: {bindAddress: "127.0.0.1:9091", enableProfiling: false}}
kubeAPIConfig: {master: "", kubeConfig: /root/.kube/config, contentType: application/vnd.kubernetes.protobuf, qps: 100, burst: 200}
featureGates: {requireAuthorization: false}
modules:
  cloudHub:
    enable: true
    keepaliveInterval: 30
    nodeLimit: 1000
    writeTimeout: 30
    tlsCAFile: /etc/kubeedge/ca/rootCA.crt
    tlsCAKeyFile: /etc/kubeedge/ca/rootCA.key
    tlsCertFile: /etc/kubeedge/certs/edge.crt
    tlsPrivateKeyFile: /etc/kubeedge/certs/edge.key
    advertiseAddress: [10.0.0.1]
    dnsNames: [""]
    edgeCertSigningDuration: 365
    tokenRefreshDuration: 12
    websocket: {enable: true, port: 10000, address: 0.0.0.0}
    quic: {enable: false, address: 0.0.0.0, port: 10001, maxIncomingStreams: 10000}
    https: {enable: true, port: 10002}
    unixsocket: {enable: true, address: unix:///var/lib/kubeedge/kubeedge.sock}
    authorization: {enable: false, debug: true, modes: [{node: {enable: true}}]}
  edgeController: {enable: true, nodeUpdateFrequency: 10, buffer: {podEvent: 1}, load: {podWorkers: 4}}
  deviceController: {enable: true, buffer: {deviceEvent: 1}, load: {updateDeviceStatusWorkers: 1}}
  syncController: {enable: true}
  dynamicController: {enable: true}
  taskManager: {enable: false, buffer: {taskStatus: 1024}, load: {taskWorkers: 1}}
  cloudStream: {enable: true, tunnelPort: 10004, streamPort: 10003, tlsStreamCAFile: /etc/kubeedge/ca/streamCA.crt}
  router: {enable: false, address: 0.0.0.0, port: 9443, restTimeout: 60}
  iptablesManager: {enable: true, mode: internal}
`;

describe('cloudcore.yaml', () => {
  it('is complete when empty, with KubeEdge’s defaults', () => {
    const { config, unused } = parse('');
    expect(unused).toEqual([]);
    expect(config.modules.cloudHub).toMatchObject({ nodeLimit: 500, https: { port: 10_002 } });
    expect(absentModules.filter((name) => config.modules[name].enable)).toEqual([]);
    expect(authorizes(config.modules.cloudHub)).toBe(true);
  });

  it('takes what KubeEdge and its chart write, and names what does nothing', () => {
    const { config, unused } = parse(kubeEdgeFile);
    expect(config.kubeAPIConfig.kubeConfig).toBe('/root/.kube/config');
    expect(unused).toContain('modules.cloudHub.unixsocket');
    expect(unused).toContain('kubeAPIConfig.qps');
    expect(absentModules.filter((name) => config.modules[name].enable)).toEqual([
      'iptablesManager',
      'dynamicController',
      'cloudStream',
    ]);
    expect(authorizes(config.modules.cloudHub)).toBe(false);
  });

  it('leads to addresses and names for the server certificate', () => {
    const { config } = parse(
      'modules: {cloudHub: {advertiseAddress: [10.0.0.1, 10.0.0.1], dnsNames: ["", c.example]}}',
    );
    const options = cloudHubOptions(config.modules.cloudHub);
    expect(options.authority.serverNames).toEqual(['10.0.0.1', 'c.example']);
    expect(options.advertisedAddress).toBe('10.0.0.1');
    expect(cloudHubOptions(parse('').config.modules.cloudHub).authority.serverNames).toHaveLength(1);
  });

  it.each([
    ['modules: {cloudHub: {heartbeet: 3}}', 'modules.cloudHub.heartbeet: unknown field'],
    ['modules: {cloudHub: {quic: {enable: true}}}', 'modules.cloudHub.quic.enable: KubeEdge’s QUIC'],
    ['modules: {cloudHub: {websocket: {port: 70000}}}', 'modules.cloudHub.websocket.port'],
    ['modules: {router: {enabled: true}}', 'modules.router.enabled: unknown field'],
    ['apiVersion: v1', 'apiVersion'],
    ['commonConfig: {monitorServer: {bindAddress: "9091"}}', 'must be ADDRESS:PORT'],
  ])('says what is wrong with %s', (text, reason) => {
    expect(() => parse(text)).toThrow(reason);
  });
});
