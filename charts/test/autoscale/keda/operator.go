package main

import (
	"context"
	"errors"
	"flag"
	"time"

	kedacontrollers "github.com/kedacore/keda/v2/controllers/keda"
	"github.com/kedacore/keda/v2/pkg/eventemitter"
	"github.com/kedacore/keda/v2/pkg/k8s"
	"github.com/kedacore/keda/v2/pkg/metricscollector"
	"github.com/kedacore/keda/v2/pkg/metricsservice"
	"github.com/kedacore/keda/v2/pkg/scalers/authentication"
	"github.com/kedacore/keda/v2/pkg/scaling"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// operatorFlags are the flags of KEDA's own operator that matter here.
type operatorFlags struct {
	kubeconfig, metrics, service, certs string
	timeout                             time.Duration
}

// operator scales the targets of ScaledObjects from and to 0, keeps their
// HorizontalPodAutoscalers, and serves what the triggers read to the adapter.
func operator(ctx context.Context, scheme *runtime.Scheme, args []string) error {
	var f operatorFlags
	flags := flag.NewFlagSet("operator", flag.ContinueOnError)
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "of the cluster")
	flags.StringVar(&f.metrics, "metrics-bind-address", "127.0.0.1:8080", "where KEDA's own series are")
	flags.StringVar(&f.service, "metrics-service-bind-address", "127.0.0.1:9666", "where the adapter asks")
	flags.StringVar(&f.certs, "cert-dir", "", "folder of ca.crt, tls.crt and tls.key")
	flags.DurationVar(&f.timeout, "http-timeout", 3*time.Second, "of what triggers ask over HTTP")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", f.kubeconfig)
	if err != nil {
		return err
	}
	cfg.QPS, cfg.Burst = 20, 30 // as KEDA's own has them
	metricscollector.NewMetricsCollectors(metricscollector.Options{EnablePrometheusMetrics: true})
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme, Metrics: server.Options{BindAddress: f.metrics}, HealthProbeBindAddress: "0"})
	if err != nil {
		return err
	}
	return f.serve(ctx, mgr, cfg)
}

func (f *operatorFlags) serve(ctx context.Context, mgr ctrl.Manager, cfg *rest.Config) error {
	clients, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	own := informers.NewSharedInformerFactoryWithOptions(clients, time.Hour, informers.WithNamespace(namespace))
	secrets := own.Core().V1().Secrets()
	synced := secrets.Informer().HasSynced
	auth := &authentication.AuthClientSet{CoreV1Interface: clients.CoreV1(), SecretLister: secrets.Lister()}
	scale, _, err := k8s.InitScaleClient(mgr)
	if err != nil {
		return err
	}
	events := mgr.GetEventRecorder("keda-operator")
	handler := scaling.NewScaleHandler(mgr.GetClient(), scale, mgr.GetScheme(), f.timeout, 0, events, auth)
	emit := eventemitter.NewEventEmitter(mgr.GetClient(), events, "autoscale", auth)
	objects := &kedacontrollers.ScaledObjectReconciler{Client: mgr.GetClient(), Scheme: mgr.GetScheme(), ScaleClient: scale, ScaleHandler: handler, EventEmitter: emit}
	if err := objects.SetupWithManager(mgr, controller.Options{MaxConcurrentReconciles: 5}); err != nil {
		return err
	}
	auths := &kedacontrollers.TriggerAuthenticationReconciler{Client: mgr.GetClient(), EventHandler: emit}
	if err := auths.SetupWithManager(mgr); err != nil {
		return err
	}
	ready := make(chan struct{}) // the certificates are there from the start
	close(ready)
	service := metricsservice.NewGrpcServer(&handler, f.service, f.certs, ready)
	if err := mgr.Add(&service); err != nil {
		return err
	}
	own.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), synced) {
		return errors.New("the secrets could not be listed")
	}
	return mgr.Start(ctx)
}
