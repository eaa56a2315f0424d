/** What `kubectl explain` says of kinds and fields, in our own words. `*.field` stands for a field of any type. */

const texts = `
apiVersion Group and version of the API that this object is written for.
kind What the object is.
metadata Name, namespace, labels and other data that every object has.
*.metadata Name, namespace, labels and other data that every object has.
*.spec What is wanted.
*.status What is observed; written by the cluster.
*.conditions Named aspects of the state, each True, False or Unknown with a reason.
meta.ObjectMeta Data that every object has.
meta.ObjectMeta.name Name, unique among objects of the kind in a namespace; cannot change.
meta.ObjectMeta.generateName Prefix for a name that the server makes when name is empty.
meta.ObjectMeta.namespace Space in which the name is unique; empty for kinds of the whole cluster.
meta.ObjectMeta.uid Identity of this object in time and space; another object of the same name has another one.
meta.ObjectMeta.resourceVersion Version of the stored object; sent back in an update it guards against lost changes.
meta.ObjectMeta.generation Counts the changes of what is wanted.
meta.ObjectMeta.creationTimestamp When the object was made.
meta.ObjectMeta.deletionTimestamp When deletion was asked for; the object goes once its finalizers are done.
meta.ObjectMeta.deletionGracePeriodSeconds How long the object may take to end.
meta.ObjectMeta.labels Keys and values by which selectors find objects.
meta.ObjectMeta.annotations Keys and values for tools; not searched.
meta.ObjectMeta.ownerReferences Objects that this one belongs to; it is collected when all of them are gone.
meta.ObjectMeta.finalizers Work to be done before the object goes; it stays until the list is empty.
meta.ObjectMeta.managedFields Which manager set which fields.
meta.LabelSelector Selects objects whose labels meet all of its requirements.
core.Pod Containers that run together on one node and share its fate.
core.PodSpec What a pod is to run, and how.
core.PodSpec.containers Containers of the pod; at least one.
core.PodSpec.initContainers Containers that run to their end, one after the other, before the others start.
core.PodSpec.volumes Directories that containers of the pod may mount.
core.PodSpec.nodeName The node the pod runs on; set by the scheduler unless given.
core.PodSpec.nodeSelector Labels that a node must have to run the pod.
core.PodSpec.restartPolicy When ended containers are started again: Always, OnFailure or Never.
core.PodSpec.terminationGracePeriodSeconds Seconds between the request to stop and the kill; 30 unless given.
core.PodSpec.serviceAccountName Identity the pod has at the API.
core.PodSpec.hostNetwork Use the network of the node.
core.PodSpec.tolerations Taints of nodes that do not keep the pod away.
core.PodSpec.affinity Preferences and requirements about nodes and other pods.
core.PodSpec.imagePullSecrets Secrets with credentials for pulling images.
core.PodSpec.dnsPolicy Where names are resolved: ClusterFirst, Default, ClusterFirstWithHostNet or None.
core.PodStatus What is known about a pod.
core.PodStatus.phase Pending, Running, Succeeded, Failed or Unknown.
core.PodStatus.podIP Address of the pod.
core.PodStatus.hostIP Address of the pod's node.
core.PodStatus.startTime When the node took the pod up.
core.PodStatus.containerStatuses State, restarts and image of each container.
core.Container One program of a pod.
core.Container.name Name of the container, unique in the pod.
core.Container.image Image the container is made from.
core.Container.command Program and first arguments; replaces the image's entry point.
core.Container.args Arguments; replace the image's.
core.Container.workingDir Directory the program starts in.
core.Container.env Environment variables.
core.Container.envFrom ConfigMaps and Secrets whose entries become environment variables.
core.Container.ports Ports the container listens on.
core.Container.resources CPU, memory and other resources that are asked for and that are allowed.
core.Container.volumeMounts Where volumes of the pod appear in the container.
core.Container.livenessProbe Check whose failure restarts the container.
core.Container.readinessProbe Check that decides whether the pod is Ready.
core.Container.startupProbe Check that must succeed once before the others begin.
core.Container.lifecycle What to do after the start and before the stop.
core.Container.imagePullPolicy Always, IfNotPresent or Never.
core.Container.securityContext User, capabilities and other security settings.
core.EnvVar One environment variable.
core.EnvVar.name Name of the variable.
core.EnvVar.value Value; $(NAME) refers to variables given before.
core.EnvVar.valueFrom Where the value is taken from: a ConfigMap, a Secret, a field of the pod or a resource.
core.ContainerPort A port the container listens on.
core.ContainerPort.containerPort Number of the port.
core.ContainerPort.hostPort Port of the node that leads to it.
core.ContainerPort.protocol TCP, UDP or SCTP.
core.VolumeMount Where a volume appears in a container.
core.VolumeMount.name Name of the pod's volume.
core.VolumeMount.mountPath Directory in the container.
core.VolumeMount.readOnly Forbid writes.
core.VolumeMount.subPath Path inside of the volume; its root unless given.
core.Volume A directory that containers of the pod may mount; exactly one source.
core.Volume.name Name of the volume, unique in the pod.
core.Volume.configMap Files from the entries of a ConfigMap.
core.Volume.secret Files from the entries of a Secret.
core.Volume.emptyDir An empty directory that lives as long as the pod.
core.Volume.hostPath A path of the node.
core.Volume.projected Files from several sources in one directory.
core.ResourceRequirements.limits What the container may use at most.
core.ResourceRequirements.requests What the container is sure to get.
core.Probe A check that is repeated while the container runs.
core.Probe.initialDelaySeconds Seconds after the start before the first check.
core.Probe.periodSeconds Seconds between checks.
core.Probe.timeoutSeconds Seconds after which a check has failed.
core.Probe.failureThreshold Failures in a row that count.
core.Probe.successThreshold Successes in a row that count.
core.Probe.exec A command in the container; exit code 0 is success.
core.Probe.httpGet An HTTP request; 200 to 399 is success.
core.Probe.tcpSocket A TCP connection; success when it opens.
core.Toleration A taint of nodes that does not keep the pod away.
core.Toleration.key Key of the taint; empty with operator Exists stands for all.
core.Toleration.operator Exists or Equal.
core.Toleration.value Value of the taint, with operator Equal.
core.Toleration.effect NoSchedule, PreferNoSchedule or NoExecute; empty stands for all.
core.Toleration.tolerationSeconds How long a NoExecute taint is tolerated; for ever unless given.
core.Node A machine that runs pods.
core.NodeSpec What is wanted of a node.
core.NodeSpec.unschedulable Place no new pods here.
core.NodeSpec.taints Marks that keep pods away which do not tolerate them.
core.NodeSpec.podCIDR Range of pod addresses of the node.
core.NodeStatus What is known about a node.
core.NodeStatus.addresses Names and addresses under which the node is reached.
core.NodeStatus.capacity All resources of the node.
core.NodeStatus.allocatable Resources that pods may use.
core.NodeStatus.nodeInfo Versions and identifiers of the node's software.
core.Taint A mark that keeps pods away which do not tolerate it.
core.Taint.key Key of the taint.
core.Taint.value Value of the taint.
core.Taint.effect NoSchedule, PreferNoSchedule or NoExecute.
core.ConfigMap Configuration data for pods.
core.ConfigMap.data Entries that are text.
core.ConfigMap.binaryData Entries that are bytes, in base64.
core.ConfigMap.immutable Forbid changes of the data.
core.Secret Confidential data for pods.
core.Secret.data Entries, in base64.
core.Secret.stringData Entries as text; written into data by the server and not kept.
core.Secret.type What the secret is for; Opaque unless given.
core.Secret.immutable Forbid changes of the data.
core.Namespace A space of names for objects.
core.Service A stable name and address for a set of pods.
core.ServiceSpec.selector Labels of the pods that answer.
core.ServiceSpec.ports Ports of the service and where they lead.
core.ServiceSpec.type ClusterIP, NodePort, LoadBalancer or ExternalName.
core.ServiceAccount An identity for pods and programs at the API.
core.Event A note about something that happened to an object.
core.Event.involvedObject The object it happened to.
core.Event.reason A word for why.
core.Event.message A sentence for people.
core.Event.count How often it happened.
core.Event.type Normal or Warning.
core.PersistentVolume Storage that outlives pods.
core.PersistentVolumeClaim A request for storage.
apps.Deployment Keeps a number of equal pods running and replaces them step by step on change.
apps.DeploymentSpec.replicas Number of pods; 1 unless given.
apps.DeploymentSpec.selector Labels of the pods that belong to it; cannot change.
apps.DeploymentSpec.template The pod that is made.
apps.DeploymentSpec.strategy How old pods are replaced by new ones.
apps.DeploymentSpec.paused Replace nothing for now.
apps.DeploymentSpec.revisionHistoryLimit Old ReplicaSets that are kept.
apps.ReplicaSet Keeps a number of equal pods running.
apps.ReplicaSetSpec.replicas Number of pods; 1 unless given.
apps.ReplicaSetSpec.selector Labels of the pods that belong to it.
apps.ReplicaSetSpec.template The pod that is made.
apps.DaemonSet Runs one pod on each node that fits.
apps.StatefulSet Runs pods that keep their names and storage.
batch.Job Runs pods until enough of them have succeeded.
batch.CronJob Starts jobs by the clock.
coordination.Lease A claim that its holder has to renew.
coordination.LeaseSpec.holderIdentity Who holds it.
coordination.LeaseSpec.leaseDurationSeconds Seconds after the last renewal at which it may be taken over.
coordination.LeaseSpec.renewTime When the holder last renewed it.
rbac.Role Rights in one namespace.
rbac.ClusterRole Rights in the whole cluster.
rbac.RoleBinding Gives rights in one namespace to users, groups or service accounts.
rbac.ClusterRoleBinding Gives rights in the whole cluster to users, groups or service accounts.
certificates.CertificateSigningRequest A request for a certificate, to be approved and signed.
storage.StorageClass A kind of storage that can be claimed.
scheduling.PriorityClass Names a priority for pods.
`;

let table: ReadonlyMap<string, string> | undefined;

export function descriptionOf(name: string): string | undefined {
  table ??= new Map(
    texts
      .trim()
      .split('\n')
      .map((line) => [line.slice(0, line.indexOf(' ')), line.slice(line.indexOf(' ') + 1)]),
  );
  return table.get(name);
}
