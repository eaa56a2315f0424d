import { describe, expect, test } from 'vitest';
import { failureOf, objectOf, objectRespSchema, queryFailureSchema, readObjectResp } from './object-resp.ts';

describe('answers to an edge', () => {
  test('have both keys, and a KubeEdge edge sees a failure as one, however little is known', () => {
    const failure = failureOf({});
    expect(failure).toEqual({
      Object: null,
      Err: {
        ErrStatus: {
          metadata: {},
          status: 'Failure',
          message: 'the request failed',
          reason: 'InternalError',
          code: 500,
        },
      },
    });
    const object = { metadata: { name: 'x' } };
    expect(Object.keys(objectOf(object)).sort()).toEqual(['Err', 'Object']);
  });

  test('keep what the API said', () => {
    const status = {
      reason: 'AlreadyExists',
      message: 'nodes "a" already exists',
      code: 409,
      details: { name: 'a' },
    };
    expect(readObjectResp(failureOf(status))).toMatchObject({ failure: { ...status, status: 'Failure' } });
  });
});

describe('answers of a cloud', () => {
  test('an empty error beside no object, as KubeEdge sends it, is a failure', () => {
    expect(readObjectResp(objectRespSchema.parse({ Object: null, Err: {} }))).toEqual({ failure: {} });
  });

  test('a bare object is no answer of this form, nor is a failed query an object', () => {
    expect(objectRespSchema.safeParse({ metadata: { name: 'x' } }).success).toBe(false);
    expect(queryFailureSchema.safeParse({ metadata: { name: 'x' } }).success).toBe(false);
    expect(queryFailureSchema.safeParse({ ErrStatus: { code: 404 } }).success).toBe(true);
    expect(queryFailureSchema.safeParse({}).success).toBe(true);
  });
});
