/** What a client asked to be answered with, read from its Accept header. Answers are JSON in one of these forms. */

export interface AcceptedForm {
  readonly mediaType: string;
  /** `Table`, `PartialObjectMetadata`, `APIGroupDiscoveryList` …; undefined: the object as it is. */
  readonly as: string | undefined;
  readonly group: string | undefined;
  readonly version: string | undefined;
}

export type Rendering =
  | { readonly kind: 'object' }
  | { readonly kind: 'table'; readonly version: 'v1' | 'v1beta1' }
  | { readonly kind: 'metadata'; readonly version: 'v1' | 'v1beta1' };

/** Longer headers are read up to here. */
const maxForms = 32;

export function acceptedForms(accept: string | undefined): readonly AcceptedForm[] {
  const entries = (accept === undefined || accept.trim() === '' ? '*/*' : accept).split(',', maxForms);
  return entries.map((entry) => {
    const [mediaType = '', ...parameters] = entry.split(';').map((part) => part.trim());
    const values = new Map(parameters.map((parameter) => splitOnce(parameter, '=')));
    return {
      mediaType: mediaType.toLowerCase(),
      as: values.get('as'),
      group: values.get('g'),
      version: values.get('v'),
    };
  });
}

/** The first form that can be answered; undefined when the client takes none (406). */
export function chooseRendering(accept: string | undefined): Rendering | undefined {
  for (const form of acceptedForms(accept)) {
    if (!isJson(form.mediaType)) continue;
    if (form.as === undefined) return { kind: 'object' };
    if (form.group !== 'meta.k8s.io' || (form.version !== 'v1' && form.version !== 'v1beta1')) continue;
    if (form.as === 'Table') return { kind: 'table', version: form.version };
    if (form.as === 'PartialObjectMetadata' || form.as === 'PartialObjectMetadataList') {
      return { kind: 'metadata', version: form.version };
    }
  }
  return undefined;
}

export function isJson(mediaType: string): boolean {
  return mediaType === 'application/json' || mediaType === 'application/*' || mediaType === '*/*';
}

function splitOnce(text: string, separator: string): readonly [string, string] {
  const at = text.indexOf(separator);
  return at === -1 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}
