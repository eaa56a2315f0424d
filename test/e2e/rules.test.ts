import { describeUnless, needsCluster } from '../describe-unless.ts';
import { mosquittoMissing } from '../fixtures/mosquitto.ts';
import { describeRules } from './rules.suite.ts';

const kubeConfig = process.env.HAWSER_TEST_KUBECONFIG;

describeUnless(mosquittoMissing, 'rules', () => {
  describeRules('on the embedded API', {});
  describeUnless(needsCluster, 'on a real Kubernetes', () => {
    if (kubeConfig !== undefined) describeRules('rules', { kubeConfig });
  });
});
