import { systemClock } from '#beehive/clock.ts';
import { kubeApiSuite } from '#test/suites/kube-api.suite.ts';
import { createKubeApi } from './client.ts';
import { MemoryKubeApi } from './memory-kube-api.ts';

kubeApiSuite('KubeApi in memory', async () => ({ api: new MemoryKubeApi({ clock: systemClock }) }));

const kubeconfig = process.env.HAWSER_TEST_KUBECONFIG;
if (kubeconfig !== undefined) {
  kubeApiSuite('KubeApi of HAWSER_TEST_KUBECONFIG', async () => {
    const api = await createKubeApi(kubeconfig);
    return { api, close: () => api.close() };
  });
}
