import { describeUnless, needsCluster } from '../describe-unless.ts';
import { describeMainJob } from './main-job.suite.ts';

const kubeConfig = process.env.HAWSER_TEST_KUBECONFIG;

describeUnless(needsCluster, 'a real Kubernetes', () => {
  if (kubeConfig !== undefined) describeMainJob('the main job', { kubeConfig });
});
