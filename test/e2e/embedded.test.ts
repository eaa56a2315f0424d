import { describeMainJob } from './main-job.suite.ts';

describeMainJob('the main job on the embedded API', {});
