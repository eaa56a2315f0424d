import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { builtInResources } from '../builtin-resources.ts';
import type { KubeObject } from '../kube-object.ts';
import { StatusError } from '../status-error.ts';
import { parseFieldSelector } from './field-selector.ts';
import { fromSelectorObject, parseLabelSelector } from './label-selector.ts';

const labels = { app: 'web', tier: 'front', 'example.com/rank': '3' };

describe('label selectors', () => {
  test.each([
    ['app=web', true],
    ['app==web,tier=front', true],
    ['app!=web', false],
    ['missing!=web', true],
    ['app in (web, db)', true],
    ['app notin (web,db),tier', false],
    ['missing notin (a)', true],
    ['tier', true],
    ['!tier', false],
    ['!missing', true],
    ['example.com/rank>2', true],
    ['example.com/rank<2', false],
    ['missing=', false],
    ['constructor', false],
  ])('%s → %s', (text, expected) => {
    expect(parseLabelSelector(text)?.(labels)).toBe(expected);
  });

  test('an empty text selects everything', () => {
    expect(parseLabelSelector('')).toBeUndefined();
    expect(parseLabelSelector(undefined)).toBeUndefined();
  });

  test('the object form', () => {
    const selector = {
      matchLabels: { app: 'web' },
      matchExpressions: [
        { key: 'tier', operator: 'In', values: ['front'] },
        { key: 'gone', operator: 'DoesNotExist' },
      ],
    };
    expect(fromSelectorObject(selector)(labels)).toBe(true);
    expect(fromSelectorObject(selector)({ app: 'web' })).toBe(false);
    expect(fromSelectorObject({})(undefined)).toBe(true);
  });

  test('any text either parses or is refused with 400', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        try {
          parseLabelSelector(text)?.(labels);
        } catch (error) {
          expect(error).toBeInstanceOf(StatusError);
        }
      }),
    );
  });
});

describe('field selectors', () => {
  const definition = (plural: string) => {
    const found = builtInResources.find((each) => each.plural === plural);
    if (found === undefined) throw new Error(plural);
    return found;
  };
  const pod: KubeObject = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default' },
    spec: { nodeName: 'edge' },
    status: { phase: 'Running' },
  };

  test.each([
    ['metadata.name=p', true],
    ['metadata.name=p,spec.nodeName!=edge', false],
    ['spec.nodeName=edge,status.phase=Running', true],
    ['spec.hostNetwork=false', true],
    ['status.podIP=', true],
  ])('%s → %s', (text, expected) => {
    expect(parseFieldSelector(text, definition('pods'))?.matches(pod)).toBe(expected);
  });

  test('a field that is not selectable is refused', () => {
    expect(() => parseFieldSelector('spec.containers=x', definition('pods'))).toThrow(
      'field label not supported: spec.containers',
    );
    expect(() => parseFieldSelector('spec.nodeName=x', definition('configmaps'))).toThrow(StatusError);
  });

  test('an absent unschedulable is false', () => {
    const node: KubeObject = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n' } };
    expect(parseFieldSelector('spec.unschedulable!=true', definition('nodes'))?.matches(node)).toBe(true);
  });
});
