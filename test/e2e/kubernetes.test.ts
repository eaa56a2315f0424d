import { it } from 'vitest';
import { describeMainJob } from './main-job.suite.ts';

const kubeConfig = process.env.HAWSER_TEST_KUBECONFIG;

if (kubeConfig === undefined) {
  it('the main job on a real Kubernetes', ({ skip }) =>
    skip('HAWSER_TEST_KUBECONFIG names no cluster; `test/kubernetes/up DIR` starts one (Debian, root)'));
} else {
  describeMainJob('the main job on a real Kubernetes', { kubeConfig });
}
