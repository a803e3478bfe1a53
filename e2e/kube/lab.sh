#!/bin/bash
# A Kubernetes cluster for tests: one control plane and NODES nodes (default 3), each node with its own containerd,
# kubelet, kube-proxy and network, all inside one mount, network and pid namespace that has no link to the machine's own
# network. `down` kills the first process of that namespace, and with it every server, container, mount, address and
# firewall rule goes. lab.ts calls this; it needs root, BIN (what build.ts made) and STATE (a folder it may delete).
#
#   lab.sh up                 start, load $BIN/images/*.tar on each node, apply base.yaml, wait for DNS
#   lab.sh down               stop and remove everything but $BIN
#   lab.sh exec CMD...        run CMD beside the API server (KUBECONFIG set; cluster and pod addresses can be reached)
#   lab.sh client N CMD...    run CMD on a host of its own outside the cluster (10.200.0.20N, N = 1..3; 1 also has .211 to .218)
#   lab.sh on NODE CMD...     run CMD in a node's network
#   lab.sh load TAR...        import images on each node
#   lab.sh crash NODE ID      kill a container's first process, as a bug of its own would
#   lab.sh kill NODE          cut a node's power; its disk stays
#   lab.sh start NODE         and turn it on again
#   lab.sh cut NODE|heal NODE unplug a node's network cable and plug it in again
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
: "${BIN:?folder of the built servers}" "${STATE:?folder for the state of the cluster}"
S=$STATE NODES=${NODES:-3} PROXYMODE=${PROXYMODE:-iptables}
NET=10.200.0 SVC=10.96.0.0/16 APIIP=10.96.0.1 DNSIP=10.96.0.10 PODNET=10.244
CG=$(basename "$S") CONTROLLERS="cpu cpuacct cpuset memory devices freezer blkio pids systemd" # of cgroup v1
# The kubelet sets these for the whole machine; they are put back by `down`.
SYSCTLS="vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes"
export KUBECONFIG=$S/admin.conf PATH=$BIN:$PATH NODES PROXYMODE BIN STATE
[ ! -e "$S/nodes" ] || NODES=$(cat "$S/nodes")

pki() {
  mkdir -p $S/pki; cd $S/pki
  local ec="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
  cert() { # FILE SUBJECT [SAN]
    openssl req -new $ec -subj "$2" -keyout $1.key -out $1.csr 2>/dev/null
    openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -out $1.crt -extfile <(
      echo "keyUsage=critical,digitalSignature"; echo "extendedKeyUsage=serverAuth,clientAuth"
      [ -z "${3:-}" ] || echo "subjectAltName=$3") 2>/dev/null
  }
  conf() { # USER CERT
    cat >$S/$1.conf <<K
apiVersion: v1
kind: Config
clusters: [{name: lab, cluster: {server: "https://$NET.1:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 $1.crt), client-key-data: $(base64 -w0 $1.key)}}]
contexts: [{name: lab, context: {cluster: lab, user: $1}}]
current-context: lab
K
  }
  openssl req -x509 $ec -days 30 -subj /CN=lab-ca -keyout ca.key -out ca.crt -addext keyUsage=critical,keyCertSign,cRLSign 2>/dev/null
  cert apiserver /CN=kube-apiserver "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,DNS:localhost,IP:127.0.0.1,IP:$NET.1,IP:$APIIP"
  cert apiserver-kubelet /O=system:masters/CN=apiserver-kubelet
  cert admin /O=system:masters/CN=admin; conf admin
  for u in kube-proxy kube-scheduler kube-controller-manager; do cert $u /CN=system:$u; conf $u; done
  for i in $(seq $NODES); do
    cert kubelet-node$i /O=system:nodes/CN=system:node:node$i; conf kubelet-node$i
    cert serving-node$i /CN=node$i "DNS:node$i,IP:$NET.1$i,IP:127.0.0.1"
  done
  openssl genrsa -out sa.key 2048 2>/dev/null; openssl rsa -in sa.key -pubout -out sa.pub 2>/dev/null
  cd - >/dev/null
}

proxyconf() { # FILE NODE
  cat >$1 <<K
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $S/kube-proxy.conf}
hostnameOverride: $2
mode: $PROXYMODE
clusterCIDR: $PODNET.0.0/16
detectLocalMode: ClusterCIDR
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
iptables: {minSyncPeriod: 100ms}
nftables: {minSyncPeriod: 100ms}
K
}

nodeconf() { # I
  local i=$1 D=$S/node$1
  mkdir -p $D/cni $D/log
  cat >$D/containerd.toml <<K
version = 2
root = "$D/containerd"
state = "/run/containerd-state"
[grpc]
  address = "$D/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  disable_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$D/cni"
K
  cat >$D/cni/10-bridge.conflist <<K
{"cniVersion":"1.0.0","name":"lab","plugins":[
 {"type":"bridge","bridge":"cni0","isGateway":true,"ipMasq":false,"hairpinMode":true,
  "ipam":{"type":"host-local","dataDir":"/run/cni-ipam","ranges":[[{"subnet":"$PODNET.$i.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}},
 {"type":"portmap","capabilities":{"portMappings":true}}]}
K
  : >$D/resolv.conf
  cat >$D/kubelet.yaml <<K
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /$CG/node$i
containerRuntimeEndpoint: unix://$D/containerd.sock
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $S/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $S/pki/serving-node$i.crt
tlsPrivateKeyFile: $S/pki/serving-node$i.key
clusterDomain: cluster.local
clusterDNS: [$DNSIP]
resolvConf: $D/resolv.conf
failSwapOn: false
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%}
imageGCHighThresholdPercent: 100
nodeStatusUpdateFrequency: 2s
syncFrequency: 5s
nodeLeaseDurationSeconds: 4
volumePluginDir: $D/volumeplugins
podLogsDir: $D/podlogs
K
  proxyconf $D/proxy.yaml node$i
}

keep() { # LOG CMD...: run for good
  local log=$1; shift
  (while :; do "$@" >>$log 2>&1 || true; echo "$(date -Is) $1 left, starting it again" >>$log; sleep .5; done) &
}

reap() { trap 'exit 0' TERM; while :; do sleep 1000 & wait $! || true; done; }

node() { # I: first process of a node
  local i=$1 D=$S/node$1
  mount -t tmpfs -o mode=755 run /run
  for c in $CONTROLLERS; do
    mkdir -p /sys/fs/cgroup/$c/$CG/node$i
    [ $c != cpuset ] || for d in $CG $CG/node$i; do for f in cpus mems; do cat /sys/fs/cgroup/cpuset/cpuset.$f >/sys/fs/cgroup/cpuset/$d/cpuset.$f; done; done
  done
  echo 8192 >/sys/fs/cgroup/cpu/$CG/cpu.shares # else all pods together weigh as much as one process of the machine
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  keep $D/log/containerd.log containerd -c $D/containerd.toml
  keep $D/log/kubelet.log $BIN/kubelet --config=$D/kubelet.yaml --kubeconfig=$S/kubelet-node$i.conf --hostname-override=node$i --node-ip=$NET.1$i --root-dir=$D/kubelet --cert-dir=$D/certs
  until kubectl get node node$i >/dev/null 2>&1; do sleep .1; done # sooner, kube-proxy waits half a minute before it looks again
  keep $D/log/proxy.log $BIN/kube-proxy --config=$D/proxy.yaml
  reap
}

startnode() { # I
  rm -f $S/node$1/containerd.sock
  setsid nsenter --net=/run/netns/node$1 unshare --mount --pid --uts --fork --kill-child=KILL --mount-proc \
    sh -c "hostname node$1; exec '$HERE/lab.sh' node $1" </dev/null >>$S/node$1/log/init.log 2>&1 &
  echo $! >$S/node$1/pid
}

host() { # NAME IP: a network of its own on the cluster's switch
  ip netns add $1
  ip link add port-$1 type veth peer name eth0 netns $1
  ip link set port-$1 master kube0 up
  nsenter --net=/run/netns/$1 sh -c "ip link set lo up; ip addr add $2/24 dev eth0; ip link set eth0 up; ip route add default via $NET.1"
}

init() { # first process of the cluster
  mount --make-rprivate /; mount --make-rshared /
  mount -t tmpfs -o mode=755 run /run; mkdir -p /run/netns /run/lock
  mount -t tmpfs -o size=2g etcd $S/etcd
  ip link set lo up
  ip link add kube0 type bridge; ip addr add $NET.1/24 dev kube0; ip link set kube0 up
  ip route add $SVC dev kube0 # else a packet to a cluster IP finds no route before the firewall can rewrite it
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=0
  for i in $(seq $NODES); do host node$i $NET.1$i; ip route add $PODNET.$i.0/24 via $NET.1$i; done
  for i in $(seq $NODES); do for j in $(seq $NODES); do [ $i = $j ] || nsenter --net=/run/netns/node$i ip route add $PODNET.$j.0/24 via $NET.1$j; done; done
  for i in 1 2 3; do host client$i $NET.20$i; done
  for i in $(seq 211 218); do nsenter --net=/run/netns/client1 ip addr add $NET.$i/24 dev eth0; done # one host, many users
  keep $S/log/etcd.log $BIN/etcd --data-dir $S/etcd/data --listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
    --listen-peer-urls http://127.0.0.1:2380 --unsafe-no-fsync --log-level warn
  keep $S/log/apiserver.log $BIN/kube-apiserver --etcd-servers=http://127.0.0.1:2379 --service-cluster-ip-range=$SVC --advertise-address=$NET.1 \
    --secure-port=6443 --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --default-not-ready-toleration-seconds=10 --default-unreachable-toleration-seconds=10 \
    --client-ca-file=$S/pki/ca.crt --tls-cert-file=$S/pki/apiserver.crt --tls-private-key-file=$S/pki/apiserver.key \
    --kubelet-client-certificate=$S/pki/apiserver-kubelet.crt --kubelet-client-key=$S/pki/apiserver-kubelet.key --kubelet-certificate-authority=$S/pki/ca.crt \
    --kubelet-preferred-address-types=InternalIP --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-key-file=$S/pki/sa.pub --service-account-signing-key-file=$S/pki/sa.key
  for i in $(seq $NODES); do startnode $i; done
  until kubectl get --raw /readyz >/dev/null 2>&1; do sleep .1; done # sooner, the bootstrap roles are missing and these give up
  keep $S/log/controller-manager.log $BIN/kube-controller-manager --kubeconfig=$S/kube-controller-manager.conf --authentication-kubeconfig=$S/kube-controller-manager.conf \
    --authorization-kubeconfig=$S/kube-controller-manager.conf --bind-address=127.0.0.1 --use-service-account-credentials=true --leader-elect=false \
    --root-ca-file=$S/pki/ca.crt --service-account-private-key-file=$S/pki/sa.key --cluster-signing-cert-file=$S/pki/ca.crt --cluster-signing-key-file=$S/pki/ca.key \
    --node-monitor-period=1s --node-monitor-grace-period=8s --cert-dir=$S/certs-kcm
  keep $S/log/scheduler.log $BIN/kube-scheduler --kubeconfig=$S/kube-scheduler.conf --authentication-kubeconfig=$S/kube-scheduler.conf \
    --authorization-kubeconfig=$S/kube-scheduler.conf --bind-address=127.0.0.1 --leader-elect=false --cert-dir=$S/certs-sched
  until kubectl get node node1 >/dev/null 2>&1; do sleep .1; done
  keep $S/log/proxy.log $BIN/kube-proxy --config=$S/proxy.yaml # so that the API server reaches webhooks behind a Service
  keep $S/log/provisioner.log $BIN/kubeone provisioner --kubeconfig=$S/admin.conf --root=$S/volumes
  reap
}

load() { # TAR...
  local jobs= failed=0 job
  for i in $(seq $NODES); do
    for _ in $(seq 200); do [ -S $S/node$i/containerd.sock ] && break; sleep .05; done
    for t in "$@"; do ctr -a $S/node$i/containerd.sock -n k8s.io images import "$t" >/dev/null; done & jobs="$jobs $!"
  done
  for job in $jobs; do wait $job || failed=1; done
  return $failed
}

inside() { nsenter -t $(cat $S/init.pid) -m -n -p -- "$@"; }
bounded() { # SECONDS WHAT CMD...: until it succeeds
  local end=$((SECONDS + $1)) what=$2; shift 2
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || { echo "lab.sh: $what: not in time" >&2; exit 1; }
    sleep .1
  done
  echo "$what after $((SECONDS - t0)) s"
}

case ${1:-} in
up)
  [ ! -e $S/init.pid ] || { echo "lab.sh: already up, or left over: lab.sh down" >&2; exit 1; }
  t0=$SECONDS; mkdir -p $S/etcd $S/log; echo $NODES >$S/nodes
  for k in $SYSCTLS; do echo "$k=$(sysctl -n $k)"; done >$S/sysctls
  pki; proxyconf $S/proxy.yaml node1; for i in $(seq $NODES); do nodeconf $i; done
  setsid unshare --mount --net --pid --uts --fork --kill-child=KILL --mount-proc "$HERE/lab.sh" init </dev/null >$S/log/init.log 2>&1 &
  echo $! >$S/unshare.pid; u=$!
  for _ in $(seq 200); do p=$(cat /proc/$u/task/$u/children 2>/dev/null || true); [ -z "$p" ] || break; sleep .05; done
  echo $p >$S/init.pid
  load $BIN/images/*.tar
  k="$HERE/lab.sh exec kubectl"
  bounded 90 "API server ready" $k get --raw /readyz
  bounded 30 "basics applied" $k apply -f $HERE/base.yaml
  for i in $(seq $NODES); do
    bounded 90 "node$i there" $k get node node$i
    $k wait --for=condition=Ready node/node$i --timeout=90s >/dev/null
  done
  for i in 1 $(seq 11 $((10 + NODES))); do bounded 60 "kube-proxy of $NET.$i ready" "$HERE/lab.sh" exec curl -sfo /dev/null --max-time 1 http://$NET.$i:10256/healthz; done
  $k -n kube-system rollout status deploy/coredns --timeout=120s >/dev/null
  echo "cluster DNS ready after $((SECONDS - t0)) s"
  ;;
init) init ;;
node) node $2 ;;
exec) shift; exec nsenter -t $(cat $S/init.pid) -n -- "$@" ;;
on) n=$2; shift 2; exec nsenter -t $(cat $S/init.pid) -m -W "$PWD" -- nsenter --net=/run/netns/$n -- "$@" ;;
client) n=$2; shift 2; exec nsenter -t $(cat $S/init.pid) -m -W "$PWD" -- nsenter --net=/run/netns/client$n -- "$@" ;;
load) shift; load "$@" ;;
crash) exec ctr -a $S/$2/containerd.sock -n k8s.io tasks kill --signal SIGKILL "$3" ;;
kill) inside kill -KILL $(cat $S/$2/pid) ;;
start) inside "$HERE/lab.sh" startnode ${2#node} ;;
startnode) startnode $2 ;;
cut) inside ip link set port-$2 down ;;
heal) inside ip link set port-$2 up ;;
down)
  [ -e $S/nodes ] || exit 0
  if [ -e $S/init.pid ]; then kill -KILL $(cat $S/init.pid) 2>/dev/null || true; fi
  for _ in $(seq 100); do kill -0 $(cat $S/unshare.pid 2>/dev/null) 2>/dev/null || break; sleep .1; done
  while read -r l; do sysctl -qw "$l" || true; done <$S/sysctls
  for _ in $(seq 30); do # a cgroup is busy until the last process of it is gone
    left=; for c in $CONTROLLERS unified; do [ ! -d /sys/fs/cgroup/$c/$CG ] || { find /sys/fs/cgroup/$c/$CG -depth -type d -exec rmdir {} \; 2>/dev/null || true; [ ! -d /sys/fs/cgroup/$c/$CG ] || left=1; }; done
    [ -n "$left" ] || break; sleep .1
  done
  rm -rf "$S"
  ;;
*) sed -n '2,22s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
