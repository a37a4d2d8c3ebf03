// Package procnode is a node of a cluster whose pods are processes of this machine: what
// the autoscaler's test runs workers on. It registers itself, runs the one container of
// each pod that is bound to it, restarts what ends, runs HTTP probes, tells the API server
// how a pod does, and ends a deleted one as a kubelet does: its preStop's sleep, SIGTERM,
// and after the grace period SIGKILL.
//
// An image stands for a program of this machine. There is no isolation and no limit of
// CPU or memory, no init container and no probe but HTTP, no volume but an empty one, no
// Service, and no metrics of resources. A pod that needs what is not there does not start.
package procnode

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	coordination "k8s.io/api/coordination/v1"
	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	leases "k8s.io/client-go/kubernetes/typed/coordination/v1"
	pods "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// name is the node's.
const name = "procnode"

// Config is what a node runs, and where.
type Config struct {
	API    *rest.Config
	Images map[string]string // programs, by the image that each stands for
	Dir    string            // for the logs and volumes of pods
	Log    *slog.Logger
}

// Node is one of a cluster.
type Node struct {
	cfg    Config
	core   *pods.CoreV1Client
	leases *leases.CoordinationV1Client
	wg     sync.WaitGroup // pods that run

	mu   sync.Mutex
	pods map[types.UID]*pod // under mu
	ips  map[string]bool    // under mu; addresses that pods have
}

// New makes a node that runs nothing yet.
func New(cfg Config) (*Node, error) {
	c, err := pods.NewForConfig(cfg.API)
	if err != nil {
		return nil, err
	}
	l, err := leases.NewForConfig(cfg.API)
	if err != nil {
		return nil, err
	}
	return &Node{cfg: cfg, core: c, leases: l, pods: make(map[types.UID]*pod), ips: make(map[string]bool)}, nil
}

// Run is the node until ctx is done, when the processes are killed.
func (n *Node) Run(ctx context.Context) error {
	if err := n.register(ctx); err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	n.wg.Go(func() { n.beat(ctx) })
	list := cache.NewListWatchFromClient(n.core.RESTClient(), "pods", "", fields.OneTermEqualSelector("spec.nodeName", name))
	_, informer := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: list, ObjectType: &core.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { n.see(ctx, o.(*core.Pod)) },
			UpdateFunc: func(_, o any) { n.see(ctx, o.(*core.Pod)) },
			DeleteFunc: func(o any) {
				if p, ok := o.(*core.Pod); ok { // else a tombstone: the process was ended before
					n.end(p.UID, 0)
				}
			},
		},
	})
	informer.RunWithContext(ctx)
	n.mu.Lock()
	for _, p := range n.pods {
		p.end(0)
	}
	n.mu.Unlock()
	n.wg.Wait()
	return nil
}

// see starts a pod that is new, and ends one that is deleted.
func (n *Node) see(ctx context.Context, o *core.Pod) {
	deleted := o.DeletionTimestamp != nil
	n.mu.Lock()
	p, known := n.pods[o.UID]
	if !known && !deleted && o.Status.Phase == core.PodPending {
		p = newPod(n, o, n.address())
		n.pods[o.UID] = p
		n.wg.Go(func() { p.run(ctx) })
	}
	n.mu.Unlock()
	switch {
	case deleted && known:
		grace := 30 * time.Second
		if s := o.DeletionGracePeriodSeconds; s != nil {
			grace = time.Duration(*s) * time.Second
		}
		p.end(grace)
	case deleted: // before it began, or after its end
		n.wg.Go(func() { n.remove(ctx, o) })
	}
}

func (n *Node) end(uid types.UID, grace time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p, ok := n.pods[uid]; ok {
		p.end(grace)
	}
}

// address is one that no pod has; all of 127/8 is local. mu is held.
func (n *Node) address() string {
	for i := 2; ; i++ {
		ip := fmt.Sprintf("127.1.%d.%d", i/250, i%250+1)
		if !n.ips[ip] {
			n.ips[ip] = true
			return ip
		}
	}
}

// gone forgets a pod whose process has ended.
func (n *Node) gone(p *pod) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.pods, p.object.UID)
	delete(n.ips, p.ip)
}

// remove takes a pod that has ended from the API.
func (n *Node) remove(ctx context.Context, o *core.Pod) {
	now := int64(0)
	err := n.core.Pods(o.Namespace).Delete(ctx, o.Name, meta.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &meta.Preconditions{UID: &o.UID}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		n.cfg.Log.ErrorContext(ctx, "pod is not removed", "pod", o.Name, "err", err)
	}
}

// register makes the node, ready, with room for every pod.
func (n *Node) register(ctx context.Context) error {
	o := &core.Node{ObjectMeta: meta.ObjectMeta{Name: name, Labels: map[string]string{core.LabelHostname: name}}}
	o, err := n.core.Nodes().Create(ctx, o, meta.CreateOptions{})
	if err != nil {
		return err
	}
	room := core.ResourceList{
		core.ResourceCPU: resource.MustParse("64"), core.ResourceMemory: resource.MustParse("256Gi"),
		core.ResourcePods: resource.MustParse("200"), core.ResourceEphemeralStorage: resource.MustParse("500Gi"),
	}
	now := meta.Now()
	o.Status.Capacity, o.Status.Allocatable = room, room
	o.Status.Addresses = []core.NodeAddress{{Type: core.NodeInternalIP, Address: "127.0.0.1"}, {Type: core.NodeHostName, Address: name}}
	o.Status.Conditions = []core.NodeCondition{{Type: core.NodeReady, Status: core.ConditionTrue, Reason: "Registered", LastHeartbeatTime: now, LastTransitionTime: now}}
	_, err = n.core.Nodes().UpdateStatus(ctx, o, meta.UpdateOptions{})
	return err
}

// beat renews the node's lease: without it the cluster takes the node for lost.
func (n *Node) beat(ctx context.Context) {
	in := n.leases.Leases(core.NamespaceNodeLease)
	holder, seconds := name, int32(40)
	for ; ctx.Err() == nil; pause(ctx, 10*time.Second) {
		now := meta.NowMicro()
		l, err := in.Get(ctx, name, meta.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			_, err = in.Create(ctx, &coordination.Lease{
				ObjectMeta: meta.ObjectMeta{Name: name},
				Spec:       coordination.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
			}, meta.CreateOptions{})
		case err == nil:
			l.Spec.RenewTime = &now
			_, err = in.Update(ctx, l, meta.UpdateOptions{})
		}
		if err != nil && !errors.Is(err, context.Canceled) {
			n.cfg.Log.ErrorContext(ctx, "lease is not renewed", "err", err)
		}
	}
}

// ServeHTTP tells Prometheus, by http_sd, of the pods that are annotated to be scraped.
func (n *Node) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	n.mu.Lock()
	for _, p := range n.pods {
		if a := p.object.Annotations; a["prometheus.io/scrape"] == "true" {
			groups = append(groups, group{
				Targets: []string{p.ip + ":" + a["prometheus.io/port"]},
				Labels:  map[string]string{"namespace": p.object.Namespace, "pod": p.object.Name, "__metrics_path__": a["prometheus.io/path"]},
			})
		}
	}
	n.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(groups) // the reader went away
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
