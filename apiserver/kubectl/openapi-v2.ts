/**
 * The one Swagger 2 document that older clients read. As JSON it has all schemas; who insists on protobuf gets an
 * empty document, which is a valid one that says nothing.
 */

import type { Registry } from '../registry.ts';
import { acceptedForms, isJson } from './accept.ts';
import { schemasOf, swagger2 } from './schemas.ts';

export interface OpenApiV2Answer {
  readonly contentType: string;
  readonly body: string;
}

export function openApiV2(registry: Registry, accept: string | undefined): OpenApiV2Answer {
  const [first] = acceptedForms(accept);
  if (first !== undefined && !isJson(first.mediaType))
    return { contentType: 'application/octet-stream', body: '' };
  const body = JSON.stringify({
    swagger: '2.0',
    info: { title: 'Kubernetes', version: 'unversioned' },
    paths: {},
    definitions: schemasOf(registry.all(), swagger2),
  });
  return { contentType: 'application/json', body };
}
