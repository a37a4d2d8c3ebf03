//go:build autoscale

package autoscale

import (
	"context"
	"encoding/base64"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/millrace/millrace/charts/test/autoscale/procnode"
)

// Where the parts are, in a network of their own.
const (
	apiServer  = "127.0.0.1:6443"
	adapter    = "6444"
	targets    = "127.0.0.1:9001"
	prometheus = "127.0.0.1:9090"
	namespace  = "ml"
)

// lab is a cluster with KEDA and a pool.
type lab struct {
	root   string // of the repository
	dir    string // of this run: keys, logs, data
	keys   keys
	api    *rest.Config
	client dynamic.Interface
	mapper *restmapper.DeferredDiscoveryRESTMapper
	model  *endpoint
	record *os.File

	cleanup        func(func()) // at the end of all, whichever scenario it is called in
	stopPrometheus func()
}

// newLab brings everything up but the pool's own objects.
func newLab(t *testing.T) *lab {
	t.Helper()
	root, err := filepath.Abs("../../..")
	require.NoError(t, err)
	l := &lab{root: root, dir: filepath.Join(root, ".build/autoscale/run"), cleanup: t.Cleanup}
	require.NoError(t, os.RemoveAll(l.dir))
	require.NoError(t, os.MkdirAll(filepath.Join(l.dir, "logs"), 0o750))
	l.record, err = os.Create(filepath.Join(root, ".build/autoscale/record.md"))
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = l.record.Close()
		if t.Failed() {
			t.Log("what each part said is in " + filepath.Join(l.dir, "logs"))
		}
	})
	l.keys = newKeys(t, filepath.Join(l.dir, "keys"))
	l.kafka(t)
	l.controlPlane(t)
	l.node(t)
	l.keda(t)
	l.prometheus(t)
	l.model = serveModel(t)
	l.topics(t)
	return l
}

// controlPlane starts Kubernetes, by its own defaults but for where things are, and the
// controllers that this cluster has a use for.
func (l *lab) controlPlane(t *testing.T) {
	t.Helper()
	k, program := l.keys, filepath.Join(l.root, ".build/autoscale/kubernetes")
	require.FileExists(t, program, "run `make test-autoscale`")
	const etcd = "http://127.0.0.1:2379"
	l.start(t, "etcd", program, "etcd", "--data-dir="+filepath.Join(l.dir, "etcd"), "--listen-client-urls="+etcd, "--advertise-client-urls="+etcd)
	l.start(t, "apiserver", program, "apiserver", "--etcd-servers="+etcd, "--bind-address=127.0.0.1", "--secure-port=6443",
		// A Service kubernetes needs an endpoint, which a loopback's address cannot be.
		"--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none", "--service-cluster-ip-range=10.0.0.0/24", "--authorization-mode=RBAC",
		"--client-ca-file="+k.file("ca.crt"), "--tls-cert-file="+k.file("apiserver.crt"), "--tls-private-key-file="+k.file("apiserver.key"),
		"--service-account-issuer=https://autoscale", "--service-account-key-file="+k.file("accounts.crt"), "--service-account-signing-key-file="+k.file("accounts.key"),
		"--requestheader-client-ca-file="+k.file("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group", "--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file="+k.file("front-proxy.crt"), "--proxy-client-key-file="+k.file("front-proxy.key"))
	var err error
	l.api, err = clientcmd.BuildConfigFromFlags("", k.config("admin"))
	require.NoError(t, err)
	l.api.QPS, l.api.Burst = 100, 200
	l.client, err = dynamic.NewForConfig(l.api)
	require.NoError(t, err)
	described, err := discovery.NewDiscoveryClientForConfig(l.api)
	require.NoError(t, err)
	l.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(described))
	await(t, "the API server is ready", func(ctx context.Context) bool {
		return described.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error() == nil
	})
	own := []string{"--leader-elect=false", "--bind-address=127.0.0.1"}
	for _, name := range []string{"controller-manager", "scheduler"} {
		c := k.config(name)
		args := append([]string{program, name, "--kubeconfig=" + c, "--authentication-kubeconfig=" + c, "--authorization-kubeconfig=" + c}, own...)
		if name == "controller-manager" {
			args = append(args, "--service-account-private-key-file="+k.file("accounts.key"), "--root-ca-file="+k.file("ca.crt"), "--use-service-account-credentials",
				"--controllers=deployment-controller,replicaset-controller,horizontal-pod-autoscaler-controller,serviceaccount-controller,namespace-controller,"+
					"garbage-collector-controller,disruption-controller,node-lifecycle-controller,root-ca-certificate-publisher-controller")
		}
		l.start(t, name, args...)
	}
}

// node runs one whose pods are processes.
func (l *lab) node(t *testing.T) {
	t.Helper()
	log, err := os.Create(filepath.Join(l.dir, "logs", "node.log"))
	require.NoError(t, err)
	node, err := procnode.New(procnode.Config{
		API: l.api, Images: map[string]string{"millrace:autoscale": filepath.Join(l.root, "bin/millrace")},
		Dir: filepath.Join(l.dir, "pods"), Log: slog.New(slog.NewTextHandler(log, nil)),
	})
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- node.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		require.NoError(t, <-done)
		_ = log.Close()
	})
	serve(t, targets, node)
}

// keda puts KEDA's definitions and its API into the cluster, and starts its two parts.
func (l *lab) keda(t *testing.T) {
	t.Helper()
	program := filepath.Join(l.root, ".build/autoscale/keda")
	require.FileExists(t, program, "run `make test-autoscale`")
	where := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "github.com/kedacore/keda/v2")
	where.Dir = "keda"
	module, err := where.Output()
	require.NoError(t, err)
	definitions, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(module)), "config/crd/bases/*.yaml"))
	require.NoError(t, err)
	require.NotEmpty(t, definitions)
	for _, file := range definitions {
		l.apply(t, file, nil)
	}
	ca, err := os.ReadFile(l.keys.file("keda/ca.crt"))
	require.NoError(t, err)
	l.apply(t, "testdata/keda.yaml", strings.NewReplacer("{ca}", base64.StdEncoding.EncodeToString(ca)))

	certs, admin := l.keys.file("keda"), l.keys.config("admin")
	const service = "127.0.0.1:9666"
	l.start(t, "keda-operator", program, "operator", "--kubeconfig="+admin, "--cert-dir="+certs, "--metrics-service-bind-address="+service)
	await(t, "KEDA's operator serves metrics", func(ctx context.Context) bool {
		c, err := (&net.Dialer{}).DialContext(ctx, "tcp", service)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	l.start(t, "keda-adapter", program, "adapter", "--secure-port="+adapter, "--bind-address=127.0.0.1", "--metrics-service-address="+strings.Replace(service, "127.0.0.1", "localhost", 1),
		"--cert-dir-of-keda="+certs, "--tls-cert-file="+filepath.Join(certs, "tls.crt"), "--tls-private-key-file="+filepath.Join(certs, "tls.key"),
		"--authentication-kubeconfig="+admin, "--authorization-kubeconfig="+admin, "--lister-kubeconfig="+admin)
	await(t, "the API of external metrics is available", func(ctx context.Context) bool {
		return l.condition(ctx, "apiregistration.k8s.io/v1", "APIService", "v1beta1.external.metrics.k8s.io", "Available") == "True"
	})
}

// serve is an HTTP server until the end of the test.
func serve(t *testing.T, addr string, h http.Handler) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", addr)
	require.NoError(t, err)
	s := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close()
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
}
