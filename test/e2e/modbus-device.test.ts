import { needsCluster } from '../describe-unless.ts';
import { modbusDeviceSuite } from './modbus-device.suite.ts';

modbusDeviceSuite('the embedded API', undefined);
modbusDeviceSuite('a real API', needsCluster, process.env.HAWSER_TEST_KUBECONFIG);
