/** Words that may not stand in the code, with what to write instead, and the few places where they may. */

import type { Fault, Source } from './sources.ts';

interface Rule {
  readonly pattern: RegExp;
  readonly instead: string;
  /** Rules about the product let tests be. */
  readonly inTests: boolean;
  /** Rules about words are about comments, too. */
  readonly inComments?: boolean;
  readonly allowed?: readonly string[];
}

/** What real time and chance come from; everything else is given a Clock and a Random. */
const clockFiles = ['beehive/clock.ts', 'beehive/random.ts'];
const inject = 'take a Clock or a Random as a component';

const rules: readonly Rule[] = [
  {
    pattern: /\bDate\.now\b|\bnew Date\(\)/,
    instead: inject,
    inTests: false,
    // The default time of an envelope.
    allowed: [...clockFiles, 'protocol/message.ts'],
  },
  { pattern: /\bMath\.random\b/, instead: inject, inTests: false, allowed: clockFiles },
  { pattern: /\bperformance\.now\b/, instead: inject, inTests: false, allowed: clockFiles },
  {
    pattern: /\bset(Timeout|Interval)\(|['"]node:timers/,
    instead: `${inject}, and sleep with a signal`,
    inTests: false,
    allowed: clockFiles,
  },
  { pattern: /\bas any\b|[:<]\s*any\b(?! )/, instead: 'parse it, or say unknown', inTests: true },
  {
    pattern: /@ts-(ignore|expect-error|nocheck)\b/,
    instead: 'mend the type',
    inTests: true,
    inComments: true,
  },
  {
    pattern: /rejectUnauthorized: false|NODE_TLS_REJECT_UNAUTHORIZED|checkServerIdentity: \(\) =>/,
    instead: 'trust the CA that you were given',
    inTests: true,
    allowed: [
      // The CA itself is fetched before anything can be trusted; its hash in the token proves it (wire 2.3).
      'edgecore/edgehub/ca-download.ts',
      // Who joins has no certificate yet; the handlers look at what was presented (wire 1).
      'cloudcore/cloudhub/bootstrap-server.ts',
      // Callers come with a certificate or a token; the authenticator takes only a verified certificate.
      'apiserver/rest/server.ts',
      // A pod's probe asks whether the pod answers; whose certificate it shows is the pod's own affair.
      'edgecore/edged/probes/probe-check.ts',
      // Only when the kubeconfig says insecure-skip-tls-verify, which is its owner's to decide.
      'cloudcore/kube/kubeconfig.ts',
    ],
  },
  {
    pattern: /\b(TODO|FIXME|XXX|HACK)\b/,
    instead: 'do it, or leave it out',
    inTests: true,
    inComments: true,
  },
  { pattern: /\b(md5|sha-?1)\b/i, instead: 'use sha256', inTests: false },
  { pattern: /\bshell: true\b/, instead: 'give the program and its arguments as a list', inTests: true },
  {
    pattern: /import[^;]*\bexec(Sync)?\b[^;]*from 'node:child_process'/,
    instead: 'use execFile or spawn with a list of arguments',
    inTests: true,
  },
  {
    // Between the backticks of a statement nothing is put in: values are bound.
    pattern: /\.(prepare|exec)(<[^>]*>)?\(\s*`[^`]*\$\{|\.(prepare|exec)(<[^>]*>)?\(\s*['"].*['"]\s*\+/,
    instead: 'bind what varies, with ? or @name',
    inTests: true,
  },
  { pattern: /\beval\(|\bnew Function\(/, instead: 'write the code', inTests: true },
  { pattern: /\bvi\.(mock|doMock)\(/, instead: 'pass a real part, or a small fake', inTests: true },
  { pattern: /\b(test|it|describe)\.only\(/, instead: 'run them all', inTests: true },
];

export function tokenFaults(source: Source): Fault[] {
  return rules.flatMap((rule) => {
    if (source.isTest && !rule.inTests) return [];
    if (rule.allowed?.includes(source.path)) return [];
    const lines = rule.inComments ? source.lines : source.code;
    return lines.flatMap((line, at) => {
      const found = rule.pattern.exec(line);
      return found === null
        ? []
        : [{ path: source.path, line: at + 1, text: `"${found[0].trim()}": ${rule.instead}` }];
    });
  });
}

/** Files for which a rule makes an exception; each must exist, or the exception is stale. */
export function exceptions(): string[] {
  return rules.flatMap((rule) => rule.allowed ?? []);
}
