/** Types of the API: the core group without the inside of pods. The notation is explained in `type-table.ts`. */

export const coreTypes = `
AttachedVolume name=1:string! devicePath=2:string!
AzureFilePersistentVolumeSource secretName=1:string! shareName=2:string! readOnly=3:bool
  secretNamespace=4:string?
Binding metadata=1:meta.ObjectMeta target=2:ObjectReference
CSIPersistentVolumeSource driver=1:string! volumeHandle=2:string! readOnly=3:bool fsType=4:string
  volumeAttributes=5:string{} controllerPublishSecretRef=6:SecretReference?
  nodeStageSecretRef=7:SecretReference? nodePublishSecretRef=8:SecretReference?
  controllerExpandSecretRef=9:SecretReference? nodeExpandSecretRef=10:SecretReference?
CephFSPersistentVolumeSource monitors=1:string[]! path=2:string user=3:string secretFile=4:string
  secretRef=5:SecretReference? readOnly=6:bool
CinderPersistentVolumeSource volumeID=1:string! fsType=2:string readOnly=3:bool
  secretRef=4:SecretReference?
ClientIPConfig timeoutSeconds=1:int32?
ConfigMap metadata=1:meta.ObjectMeta immutable=4:bool? data=2:string{} binaryData=3:bytes{}
ConfigMapNodeConfigSource namespace=1:string! name=2:string! uid=3:string resourceVersion=4:string
  kubeletConfigKey=5:string!
ContainerImage names=1:string[]! sizeBytes=2:int64
DaemonEndpoint Port=1:int32!
EndpointAddress# ip=1:string! hostname=3:string nodeName=4:string? targetRef=2:ObjectReference?
EndpointPort# name=1:string port=2:int32! protocol=3:string appProtocol=4:string?
EndpointSubset addresses=1:EndpointAddress[] notReadyAddresses=2:EndpointAddress[] ports=3:EndpointPort[]
Endpoints metadata=1:meta.ObjectMeta subsets=2:EndpointSubset[]
Event metadata=1:meta.ObjectMeta involvedObject=2:ObjectReference reason=3:string message=4:string
  source=5:EventSource firstTimestamp=6:Time lastTimestamp=7:Time count=8:int32 type=9:string
  eventTime=10:Time series=11:EventSeries? action=12:string related=13:ObjectReference?
  reportingComponent=14:string! reportingInstance=15:string!
EventSeries count=1:int32 lastObservedTime=2:Time
EventSource component=1:string host=2:string
FlexPersistentVolumeSource driver=1:string! fsType=2:string secretRef=3:SecretReference? readOnly=4:bool
  options=5:string{}
GlusterfsPersistentVolumeSource endpoints=1:string! path=2:string! readOnly=3:bool
  endpointsNamespace=4:string?
ISCSIPersistentVolumeSource targetPortal=1:string! iqn=2:string! lun=3:int32! iscsiInterface=4:string
  fsType=5:string readOnly=6:bool portals=7:string[] chapAuthDiscovery=8:bool chapAuthSession=11:bool
  secretRef=10:SecretReference? initiatorName=12:string?
LimitRange metadata=1:meta.ObjectMeta spec=2:LimitRangeSpec
LimitRangeItem type=1:string! max=2:Quantity{} min=3:Quantity{} default=4:Quantity{}
  defaultRequest=5:Quantity{} maxLimitRequestRatio=6:Quantity{}
LimitRangeSpec limits=1:LimitRangeItem[]!
LoadBalancerIngress ip=1:string hostname=2:string ipMode=3:string? ports=4:PortStatus[]
LoadBalancerStatus ingress=1:LoadBalancerIngress[]
LocalVolumeSource path=1:string! fsType=2:string?
ModifyVolumeStatus targetVolumeAttributesClassName=1:string status=2:string!
Namespace metadata=1:meta.ObjectMeta spec=2:NamespaceSpec status=3:NamespaceStatus
NamespaceCondition type=1:string! status=2:string! lastTransitionTime=4:Time reason=5:string
  message=6:string
NamespaceSpec finalizers=1:string[]
NamespaceStatus phase=1:string conditions=2:NamespaceCondition[type]
Node metadata=1:meta.ObjectMeta spec=2:NodeSpec status=3:NodeStatus
NodeAddress type=1:string! address=2:string!
NodeCondition type=1:string! status=2:string! lastHeartbeatTime=3:Time lastTransitionTime=4:Time
  reason=5:string message=6:string
NodeConfigSource configMap=2:ConfigMapNodeConfigSource?
NodeConfigStatus assigned=1:NodeConfigSource? active=2:NodeConfigSource?
  lastKnownGood=3:NodeConfigSource? error=4:string
NodeDaemonEndpoints kubeletEndpoint=1:DaemonEndpoint
NodeFeatures supplementalGroupsPolicy=1:bool?
NodeRuntimeHandler name=1:string! features=2:NodeRuntimeHandlerFeatures?
NodeRuntimeHandlerFeatures recursiveReadOnlyMounts=1:bool? userNamespaces=2:bool?
NodeSpec podCIDR=1:string podCIDRs=7:string[=] providerID=3:string unschedulable=4:bool taints=5:Taint[]
  configSource=6:NodeConfigSource? externalID=2:string
NodeStatus capacity=1:Quantity{} allocatable=2:Quantity{} phase=3:string conditions=4:NodeCondition[type]
  addresses=5:NodeAddress[type] daemonEndpoints=6:NodeDaemonEndpoints nodeInfo=7:NodeSystemInfo
  images=8:ContainerImage[] volumesInUse=9:string[] volumesAttached=10:AttachedVolume[]
  config=11:NodeConfigStatus? runtimeHandlers=12:NodeRuntimeHandler[] features=13:NodeFeatures?
NodeSwapStatus capacity=1:int64?
NodeSystemInfo machineID=1:string! systemUUID=2:string! bootID=3:string! kernelVersion=4:string!
  osImage=5:string! containerRuntimeVersion=6:string! kubeletVersion=7:string! kubeProxyVersion=8:string!
  operatingSystem=9:string! architecture=10:string! swap=11:NodeSwapStatus?
ObjectReference# kind=1:string namespace=2:string name=3:string uid=4:string apiVersion=5:string
  resourceVersion=6:string fieldPath=7:string
PersistentVolume metadata=1:meta.ObjectMeta spec=2:PersistentVolumeSpec status=3:PersistentVolumeStatus
PersistentVolumeClaim metadata=1:meta.ObjectMeta spec=2:PersistentVolumeClaimSpec
  status=3:PersistentVolumeClaimStatus
PersistentVolumeClaimCondition type=1:string! status=2:string! lastProbeTime=3:Time
  lastTransitionTime=4:Time reason=5:string message=6:string
PersistentVolumeClaimStatus phase=1:string accessModes=2:string[] capacity=3:Quantity{}
  conditions=4:PersistentVolumeClaimCondition[type] allocatedResources=5:Quantity{}
  allocatedResourceStatuses=7:string{} currentVolumeAttributesClassName=8:string?
  modifyVolumeStatus=9:ModifyVolumeStatus?
PersistentVolumeSource gcePersistentDisk=1:GCEPersistentDiskVolumeSource?
  awsElasticBlockStore=2:AWSElasticBlockStoreVolumeSource? hostPath=3:HostPathVolumeSource?
  glusterfs=4:GlusterfsPersistentVolumeSource? nfs=5:NFSVolumeSource? rbd=6:RBDPersistentVolumeSource?
  iscsi=7:ISCSIPersistentVolumeSource? cinder=8:CinderPersistentVolumeSource?
  cephfs=9:CephFSPersistentVolumeSource? fc=10:FCVolumeSource? flocker=11:FlockerVolumeSource?
  flexVolume=12:FlexPersistentVolumeSource? azureFile=13:AzureFilePersistentVolumeSource?
  vsphereVolume=14:VsphereVirtualDiskVolumeSource? quobyte=15:QuobyteVolumeSource?
  azureDisk=16:AzureDiskVolumeSource? photonPersistentDisk=17:PhotonPersistentDiskVolumeSource?
  portworxVolume=18:PortworxVolumeSource? scaleIO=19:ScaleIOPersistentVolumeSource?
  local=20:LocalVolumeSource? storageos=21:StorageOSPersistentVolumeSource?
  csi=22:CSIPersistentVolumeSource?
PersistentVolumeSpec capacity=1:Quantity{} ...PersistentVolumeSource=2:PersistentVolumeSource
  accessModes=3:string[] claimRef=4:ObjectReference? persistentVolumeReclaimPolicy=5:string
  storageClassName=6:string mountOptions=7:string[] volumeMode=8:string?
  nodeAffinity=9:VolumeNodeAffinity? volumeAttributesClassName=10:string?
PersistentVolumeStatus phase=1:string message=2:string reason=3:string lastPhaseTransitionTime=4:Time?
Pod metadata=1:meta.ObjectMeta spec=2:PodSpec status=3:PodStatus
PodTemplate metadata=1:meta.ObjectMeta template=2:PodTemplateSpec
PodTemplateSpec metadata=1:meta.ObjectMeta spec=2:PodSpec
PortStatus port=1:int32! protocol=2:string! error=3:string?
RBDPersistentVolumeSource monitors=1:string[]! image=2:string! fsType=3:string pool=4:string
  user=5:string keyring=6:string secretRef=7:SecretReference? readOnly=8:bool
ReplicationController metadata=1:meta.ObjectMeta spec=2:ReplicationControllerSpec
  status=3:ReplicationControllerStatus
ReplicationControllerCondition type=1:string! status=2:string! lastTransitionTime=3:Time reason=4:string
  message=5:string
ReplicationControllerSpec replicas=1:int32? minReadySeconds=4:int32 selector=2:string{}#
  template=3:PodTemplateSpec?
ReplicationControllerStatus replicas=1:int32! fullyLabeledReplicas=2:int32 readyReplicas=4:int32
  availableReplicas=5:int32 observedGeneration=3:int64 conditions=6:ReplicationControllerCondition[type]
ResourceQuota metadata=1:meta.ObjectMeta spec=2:ResourceQuotaSpec status=3:ResourceQuotaStatus
ResourceQuotaSpec hard=1:Quantity{} scopes=2:string[] scopeSelector=3:ScopeSelector?
ResourceQuotaStatus hard=1:Quantity{} used=2:Quantity{}
ScaleIOPersistentVolumeSource gateway=1:string! system=2:string! secretRef=3:SecretReference?
  sslEnabled=4:bool protectionDomain=5:string storagePool=6:string storageMode=7:string
  volumeName=8:string fsType=9:string readOnly=10:bool
ScopeSelector# matchExpressions=1:ScopedResourceSelectorRequirement[]
ScopedResourceSelectorRequirement scopeName=1:string! operator=2:string! values=3:string[]
Secret metadata=1:meta.ObjectMeta immutable=5:bool? data=2:bytes{} stringData=4:string{} type=3:string
SecretReference# name=1:string namespace=2:string
Service metadata=1:meta.ObjectMeta spec=2:ServiceSpec status=3:ServiceStatus
ServiceAccount metadata=1:meta.ObjectMeta secrets=2:ObjectReference[name]
  imagePullSecrets=3:LocalObjectReference[] automountServiceAccountToken=4:bool?
ServicePort name=1:string protocol=2:string appProtocol=6:string? port=3:int32! targetPort=4:IntOrString
  nodePort=5:int32
ServiceSpec ports=1:ServicePort[port;port,protocol] selector=2:string{}# clusterIP=3:string
  clusterIPs=18:string[] type=4:string externalIPs=5:string[] sessionAffinity=7:string
  loadBalancerIP=8:string loadBalancerSourceRanges=9:string[] externalName=10:string
  externalTrafficPolicy=11:string healthCheckNodePort=12:int32 publishNotReadyAddresses=13:bool
  sessionAffinityConfig=14:SessionAffinityConfig? ipFamilies=19:string[] ipFamilyPolicy=17:string?
  allocateLoadBalancerNodePorts=20:bool? loadBalancerClass=21:string? internalTrafficPolicy=22:string?
  trafficDistribution=23:string?
ServiceStatus loadBalancer=1:LoadBalancerStatus conditions=2:meta.Condition[type]
SessionAffinityConfig clientIP=1:ClientIPConfig?
StorageOSPersistentVolumeSource volumeName=1:string volumeNamespace=2:string fsType=3:string
  readOnly=4:bool secretRef=5:ObjectReference?
Taint key=1:string! value=2:string effect=3:string! timeAdded=4:Time?
TopologySelectorLabelRequirement key=1:string! values=2:string[]!
TopologySelectorTerm# matchLabelExpressions=1:TopologySelectorLabelRequirement[]
VolumeNodeAffinity required=1:NodeSelector?
`;
