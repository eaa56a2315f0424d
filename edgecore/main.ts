#!/usr/bin/env node
/** The command line of edgecore. */

import { runConfiguredDaemon } from '#beehive/daemon.ts';
import { edgecoreFormat } from './config.ts';
import { runEdgecore } from './edgecore.ts';

await runConfiguredDaemon('edgecore', edgecoreFormat, runEdgecore);
