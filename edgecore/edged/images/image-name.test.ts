import { describe, expect, it } from 'vitest';
import { defaultPullPolicy, fullImageName, parseImageName } from './image-name.ts';

describe('names of images', () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  it.each([
    ['nginx', 'docker.io/library/nginx:latest'],
    ['nginx:1.25', 'docker.io/library/nginx:1.25'],
    ['kubeedge/pause:3.1', 'docker.io/kubeedge/pause:3.1'],
    ['localhost:5000/busybox', 'localhost:5000/busybox:latest'],
    ['localhost/busybox', 'localhost/busybox:latest'],
    ['registry.k8s.io/e2e/agnhost:2.39', 'registry.k8s.io/e2e/agnhost:2.39'],
    [`nginx@${digest}`, `docker.io/library/nginx@${digest}`],
    [`example.org/a/b__c:1@${digest}`, `example.org/a/b__c:1@${digest}`],
  ])('%s is %s', (text, whole) => {
    const name = parseImageName(text);
    expect(name && fullImageName(name)).toBe(whole);
  });

  it.each(['', 'Nginx', 'a//b', 'a/:tag', 'a:', 'a b', '/a', 'a@sha256:1', 'https://a/b', 'x'.repeat(600)])(
    '%j is none',
    (text) => expect(parseImageName(text)).toBeUndefined(),
  );

  it('asks the registry each time for "latest" only', () => {
    const policy = (text: string) => {
      const name = parseImageName(text);
      return name && defaultPullPolicy(name);
    };
    expect(['a', 'a:latest', 'a:1', `a@${digest}`].map(policy)).toEqual([
      'Always',
      'Always',
      'IfNotPresent',
      'IfNotPresent',
    ]);
  });
});
