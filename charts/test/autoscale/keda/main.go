// Command keda is KEDA in one program: the controller of ScaledObjects, the scale handler
// and the metrics service of its operator, and the adapter that gives metrics to the
// HorizontalPodAutoscaler, each as a sub-command and a process of its own. They are the
// released ones' code, from its module, wired here in place of KEDA's own mains, which
// listen on every interface. There are no ScaledJobs, webhooks or rotation of certificates.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	eventing "github.com/kedacore/keda/v2/apis/eventing/v1alpha1"
	kedav1alpha1 "github.com/kedacore/keda/v2/apis/keda/v1alpha1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// namespace is where KEDA itself is.
const namespace = "keda"

func main() {
	if err := run(ctrl.SetupSignalHandler(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "keda:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	ctrl.SetLogger(zap.New())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, kedav1alpha1.AddToScheme, eventing.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	switch {
	case len(args) > 0 && args[0] == "operator":
		return operator(ctx, scheme, args[1:])
	case len(args) > 0 && args[0] == "adapter":
		return adapter(ctx, scheme, args[1:])
	}
	return errors.New("usage: keda operator|adapter [flags]")
}
