/** Judges what is known of the network: its kernel's switches, firewalls, ports, and the cloud seen from here. */

import type { Facts } from './facts.ts';
import { type Finding, finding, pass } from './finding.ts';
import type { Plan } from './plan.ts';

/** Of CloudHub, when it is not about to be set up. */
const defaultPorts = [10000, 10002];

export function checkNetwork(facts: Facts, plan: Plan): Finding[] {
  return [
    checkFirewall(facts, plan),
    ...(plan.role === 'edge' ? [checkBridge(facts, plan), checkForwarding(facts, plan)] : []),
    ...facts.ports.map(checkPort),
    ...(facts.cloud === undefined ? [] : checkCloud(facts.cloud)),
  ];
}

function checkFirewall({ firewalls }: Facts, { role, ports }: Plan): Finding {
  if (firewalls.length === 0)
    return pass('firewall', 'network', 'no rules that refuse what comes in are seen');
  const names = firewalls.join(' and ');
  if (role === 'edge')
    return pass('firewall', 'network', `${names} refuses what comes in; an edge needs only what goes out`);
  const planned = ports.filter(({ host }) => host !== '127.0.0.1').map(({ port }) => port);
  const open = planned.length > 0 ? planned : defaultPorts;
  const text = `${names} refuses what comes in: edges may not reach ports ${open.join(' and ')}`;
  const fix = `let them in: \`nft insert rule inet filter input tcp dport { ${open.join(', ')} } accept\` or \`iptables -I INPUT -p tcp -m multiport --dports ${open.join(',')} -j ACCEPT\``;
  return finding('firewall', 'network', 'warn', text, fix);
}

function checkBridge({ bridgeCallsIptables: on }: Facts, { runtime }: Plan): Finding {
  const name = 'bridge-nf-call';
  if (runtime === 'process') return pass(name, 'network', 'not needed: pods share the network of the host');
  if (on === true) return pass(name, 'network', 'on');
  const text =
    on === undefined ? 'br_netfilter is not loaded' : 'bridged traffic of pods does not pass iptables';
  const fix = `${on === undefined ? '`modprobe br_netfilter` and ' : ''}\`sysctl -w net.bridge.bridge-nf-call-iptables=1\`, if your network of pods needs it`;
  return finding(name, 'network', 'warn', text, fix);
}

function checkForwarding({ forwardsIp: on }: Facts, { runtime }: Plan): Finding {
  const name = 'ip-forward';
  if (on === true) return pass(name, 'network', 'on');
  if (runtime === 'process') return pass(name, 'network', 'not needed: pods share the network of the host');
  const text = 'the kernel forwards no packets, as a network of pods needs';
  return finding(name, 'network', 'warn', text, '`sysctl -w net.ipv4.ip_forward=1`');
}

function checkPort({ port, use, change, free }: Facts['ports'][number]): Finding {
  const name = `port-${port}`;
  if (free) return pass(name, 'network', `free for ${use}`);
  const text = `port ${port} (${use}) is taken on this machine`;
  const fix = `end what listens there (\`ss -ltnp 'sport = :${port}'\` shows it) or choose another with ${change}`;
  return finding(name, 'network', 'fail', text, fix);
}

function checkCloud({ host, nameFailure, unreachable }: NonNullable<Facts['cloud']>): Finding[] {
  if (nameFailure !== undefined) {
    const text = `the name ${host} cannot be resolved (${nameFailure})`;
    const fix = 'check /etc/resolv.conf and the name, or give an address in --cloudcore-ipport';
    return [finding('dns', 'dns', 'fail', text, fix)];
  }
  const dns = pass('dns', 'dns', `${host} has an address`);
  if (unreachable.length === 0) return [dns, pass('cloud', 'network', `${host} answers`)];
  const where = unreachable.map(({ port, reason }) => `${host}:${port} (${reason})`).join(', ');
  const text = `cloudcore cannot be reached at ${where}`;
  const fix =
    'check --cloudcore-ipport and --certport, that cloudcore is running there, and that no firewall stands between';
  return [dns, finding('cloud', 'network', 'fail', text, fix)];
}
