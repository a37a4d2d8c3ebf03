package main

import (
	"context"

	grpcprom "github.com/grpc-ecosystem/go-grpc-middleware/providers/prometheus"
	"github.com/kedacore/keda/v2/pkg/metricsservice"
	"github.com/kedacore/keda/v2/pkg/provider"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
)

// adapter is the API of external metrics: it asks the operator for each.
func adapter(ctx context.Context, scheme *runtime.Scheme, args []string) error {
	base := &basecmd.AdapterBase{Name: "keda-adapter"}
	service := base.Flags().String("metrics-service-address", "localhost:9666", "where the operator serves what the triggers read")
	certs := base.Flags().String("cert-dir-of-keda", "", "folder of ca.crt, tls.crt and tls.key")
	if err := base.Flags().Parse(args); err != nil {
		return err
	}
	kubeconfig, err := base.Flags().GetString("lister-kubeconfig")
	if err != nil {
		return err
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{Scheme: scheme, Metrics: server.Options{BindAddress: "0"}})
	if err != nil {
		return err
	}
	client, err := metricsservice.NewGrpcClient(ctx, *service, *certs, "", "", grpcprom.NewClientMetrics(), false)
	if err != nil {
		return err
	}
	base.WithExternalMetrics(provider.NewProvider(ctx, ctrl.Log.WithName("adapter"), mgr.GetClient(), *client))
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return mgr.Start(ctx) })
	both.Go(func() error { return base.Run(ctx) })
	return both.Wait()
}
