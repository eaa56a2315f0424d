/** The messages of dmi.proto, read by protobufjs itself. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import protobuf from 'protobufjs';
import { packageRoot } from '#beehive/package-root.ts';

const file = readFileSync(join(packageRoot(), 'protocol/dmi/dmi.proto'), 'utf8');

export const dmiMessages = protobuf.parse(file, new protobuf.Root(), { keepCase: true }).root;
dmiMessages.addJSON(protobuf.common.get('google/protobuf/any.proto')?.nested ?? {}).resolveAll();
