#!/usr/bin/env node
/** The command line of cloudcore. */

import { runConfiguredDaemon } from '#beehive/daemon.ts';
import { runCloudcore } from './cloudcore.ts';
import { cloudcoreConfigFormat } from './config.ts';

await runConfiguredDaemon('cloudcore', cloudcoreConfigFormat, runCloudcore);
