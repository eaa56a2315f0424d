/** Types of the API: object metadata and the remaining groups. The notation is explained in `type-table.ts`. */

export const metaTypes = `
Condition type=1:string! status=2:string! observedGeneration=3:int64 lastTransitionTime=4:Time!
  reason=5:string! message=6:string!
CreateOptions dryRun=1:string[] fieldManager=3:string fieldValidation=4:string
DeleteOptions gracePeriodSeconds=1:int64? preconditions=2:Preconditions? orphanDependents=3:bool?
  propagationPolicy=4:string? dryRun=5:string[] ignoreStoreReadErrorWithClusterBreakingPotential=6:bool?
FieldSelectorRequirement key=1:string! operator=2:string! values=3:string[]
LabelSelector# matchLabels=1:string{} matchExpressions=2:LabelSelectorRequirement[]
LabelSelectorRequirement key=1:string! operator=2:string! values=3:string[]
ListMeta selfLink=1:string resourceVersion=2:string continue=3:string remainingItemCount=4:int64?
ManagedFieldsEntry manager=1:string operation=2:string apiVersion=3:string time=4:Time?
  fieldsType=6:string fieldsV1=7:FieldsV1? subresource=8:string
ObjectMeta name=1:string generateName=2:string namespace=3:string selfLink=4:string uid=5:string
  resourceVersion=6:string generation=7:int64 creationTimestamp=8:Time deletionTimestamp=9:Time?
  deletionGracePeriodSeconds=10:int64? labels=11:string{} annotations=12:string{}
  ownerReferences=13:OwnerReference[uid] finalizers=14:string[=] managedFields=17:ManagedFieldsEntry[]
OwnerReference# apiVersion=5:string! kind=1:string! name=3:string! uid=4:string! controller=6:bool?
  blockOwnerDeletion=7:bool?
PatchOptions dryRun=1:string[] force=2:bool? fieldManager=3:string fieldValidation=4:string
Preconditions uid=1:string? resourceVersion=2:string?
Status metadata=1:ListMeta status=2:string message=3:string reason=4:string details=5:StatusDetails?
  code=6:int32
StatusCause reason=1:string message=2:string field=3:string
StatusDetails name=1:string group=2:string kind=3:string uid=6:string causes=4:StatusCause[]
  retryAfterSeconds=5:int32
UpdateOptions dryRun=1:string[] fieldManager=2:string fieldValidation=3:string
`;

export const coordinationTypes = `
Lease metadata=1:meta.ObjectMeta spec=2:LeaseSpec
LeaseSpec holderIdentity=1:string? leaseDurationSeconds=2:int32? acquireTime=3:Time? renewTime=4:Time?
  leaseTransitions=5:int32? strategy=6:string? preferredHolder=7:string?
`;

export const discoveryTypes = `
Endpoint addresses=1:string[-;=]! conditions=2:EndpointConditions hostname=3:string?
  targetRef=4:core.ObjectReference? deprecatedTopology=5:string{} nodeName=6:string? zone=7:string?
  hints=8:EndpointHints?
EndpointConditions ready=1:bool? serving=2:bool? terminating=3:bool?
EndpointHints forZones=1:ForZone[] forNodes=2:ForNode[]
EndpointPort# name=1:string? protocol=2:string? port=3:int32? appProtocol=4:string?
EndpointSlice metadata=1:meta.ObjectMeta addressType=4:string! endpoints=2:Endpoint[]!
  ports=3:EndpointPort[]!
ForNode name=1:string!
ForZone name=1:string!
`;

export const eventsTypes = `
Event metadata=1:meta.ObjectMeta eventTime=2:Time! series=3:EventSeries? reportingController=4:string
  reportingInstance=5:string action=6:string reason=7:string regarding=8:core.ObjectReference
  related=9:core.ObjectReference? note=10:string type=11:string deprecatedSource=12:core.EventSource
  deprecatedFirstTimestamp=13:Time deprecatedLastTimestamp=14:Time deprecatedCount=15:int32
EventSeries count=1:int32! lastObservedTime=2:Time!
`;

export const networkingTypes = `
HTTPIngressPath path=1:string pathType=3:string? backend=2:IngressBackend
HTTPIngressRuleValue paths=1:HTTPIngressPath[]!
IPBlock cidr=1:string! except=2:string[]
Ingress metadata=1:meta.ObjectMeta spec=2:IngressSpec status=3:IngressStatus
IngressBackend service=4:IngressServiceBackend? resource=3:core.TypedLocalObjectReference?
IngressClass metadata=1:meta.ObjectMeta spec=2:IngressClassSpec
IngressClassParametersReference apiGroup=1:string? kind=2:string! name=3:string! scope=4:string?
  namespace=5:string?
IngressClassSpec controller=1:string parameters=2:IngressClassParametersReference?
IngressLoadBalancerIngress ip=1:string hostname=2:string ports=4:IngressPortStatus[]
IngressLoadBalancerStatus ingress=1:IngressLoadBalancerIngress[]
IngressPortStatus port=1:int32! protocol=2:string! error=3:string?
IngressRule host=1:string ...IngressRuleValue=2:IngressRuleValue
IngressRuleValue http=1:HTTPIngressRuleValue?
IngressServiceBackend name=1:string! port=2:ServiceBackendPort
IngressSpec ingressClassName=4:string? defaultBackend=1:IngressBackend? tls=2:IngressTLS[]
  rules=3:IngressRule[]
IngressStatus loadBalancer=1:IngressLoadBalancerStatus
IngressTLS hosts=1:string[] secretName=2:string
NetworkPolicy metadata=1:meta.ObjectMeta spec=2:NetworkPolicySpec
NetworkPolicyEgressRule ports=1:NetworkPolicyPort[] to=2:NetworkPolicyPeer[]
NetworkPolicyIngressRule ports=1:NetworkPolicyPort[] from=2:NetworkPolicyPeer[]
NetworkPolicyPeer podSelector=1:meta.LabelSelector? namespaceSelector=2:meta.LabelSelector?
  ipBlock=3:IPBlock?
NetworkPolicyPort protocol=1:string? port=2:IntOrString? endPort=3:int32?
NetworkPolicySpec podSelector=1:meta.LabelSelector ingress=2:NetworkPolicyIngressRule[]
  egress=3:NetworkPolicyEgressRule[] policyTypes=4:string[]
ServiceBackendPort# name=1:string number=2:int32
`;

export const schedulingTypes = `
PriorityClass metadata=1:meta.ObjectMeta value=2:int32! globalDefault=3:bool description=4:string
  preemptionPolicy=5:string?
`;

export const storageTypes = `
CSIDriver metadata=1:meta.ObjectMeta spec=2:CSIDriverSpec
CSIDriverSpec attachRequired=1:bool? podInfoOnMount=2:bool? volumeLifecycleModes=3:string[-;=]
  storageCapacity=4:bool? fsGroupPolicy=5:string? tokenRequests=6:TokenRequest[]
  requiresRepublish=7:bool? seLinuxMount=8:bool? nodeAllocatableUpdatePeriodSeconds=9:int64?
CSINode metadata=1:meta.ObjectMeta spec=2:CSINodeSpec
CSINodeDriver name=1:string! nodeID=2:string! topologyKeys=3:string[]! allocatable=4:VolumeNodeResources?
CSINodeSpec drivers=1:CSINodeDriver[name]!
StorageClass metadata=1:meta.ObjectMeta provisioner=2:string! parameters=3:string{}
  reclaimPolicy=4:string? mountOptions=5:string[] allowVolumeExpansion=6:bool?
  volumeBindingMode=7:string? allowedTopologies=8:core.TopologySelectorTerm[]
TokenRequest audience=1:string! expirationSeconds=2:int64?
VolumeAttachment metadata=1:meta.ObjectMeta spec=2:VolumeAttachmentSpec status=3:VolumeAttachmentStatus
VolumeAttachmentSource persistentVolumeName=1:string? inlineVolumeSpec=2:core.PersistentVolumeSpec?
VolumeAttachmentSpec attacher=1:string! source=2:VolumeAttachmentSource nodeName=3:string!
VolumeAttachmentStatus attached=1:bool! attachmentMetadata=2:string{} attachError=3:VolumeError?
  detachError=4:VolumeError?
VolumeError time=1:Time message=2:string errorCode=3:int32?
VolumeNodeResources count=1:int32?
`;
