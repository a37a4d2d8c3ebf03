package test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// What Kubernetes does not hold together itself.
func TestObjectsFitEachOther(t *testing.T) {
	for name, values := range matrix() {
		t.Run(name, func(t *testing.T) {
			r := rendered(t, values)
			for id, o := range r.objects {
				pod := podOf(o)
				if pod == nil {
					continue
				}
				labels := o.at("spec", "template", "metadata", "labels")
				if selector := o.at("spec", "selector", "matchLabels"); selector != nil {
					require.Subset(t, labels, selector, id)
				}
				checkPod(t, r, id, pod)
			}
			for _, kind := range []string{"PodDisruptionBudget", "NetworkPolicy", "PodMonitor", "Service", "ServiceMonitor"} {
				for _, o := range r.of(kind) {
					checkSelects(t, r, o)
				}
			}
			for _, o := range r.of("ScaledObject") {
				target := fmt.Sprintf("%v/%v", o.at("spec", "scaleTargetRef", "kind"), o.at("spec", "scaleTargetRef", "name"))
				require.Contains(t, r.objects, target)
				require.Nil(t, r.objects[target].at("spec", "replicas"), "the size is KEDA's: an upgrade would reset it")
			}
		})
	}
}

func podOf(o object) object {
	spec, _ := o.at("spec", "template", "spec").(map[string]any)
	return spec
}

func checkPod(t *testing.T, r release, id string, pod object) {
	t.Helper()
	require.Equal(t, true, pod.at("securityContext", "runAsNonRoot"), id)
	require.Equal(t, false, pod["automountServiceAccountToken"], id)
	if account, ok := pod["serviceAccountName"]; ok && account != "ours" {
		require.Contains(t, r.objects, fmt.Sprintf("ServiceAccount/%v", account), id)
	}
	have, used := make(map[any]bool), make(map[any]bool)
	volumes, _ := pod["volumes"].([]any)
	for _, v := range volumes {
		have[v.(map[string]any)["name"]] = true
	}
	for i := range pod["containers"].([]any) {
		c := object(pod.at("containers", i).(map[string]any))
		require.Equal(t, true, c.at("securityContext", "readOnlyRootFilesystem"), id)
		require.Equal(t, false, c.at("securityContext", "allowPrivilegeEscalation"), id)
		require.NotNil(t, c.at("resources", "requests", "cpu"), id)
		mounts, _ := c["volumeMounts"].([]any)
		for _, m := range mounts {
			used[m.(map[string]any)["name"]] = true
		}
		ports, _ := c["ports"].([]any)
		names := make([]any, 0, len(ports))
		for _, p := range ports {
			names = append(names, p.(map[string]any)["name"])
		}
		for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
			if port := c.at(probe, "httpGet", "port"); port != nil {
				require.Contains(t, names, port, "%s: %s", id, probe)
			}
		}
	}
	require.Equal(t, have, used, "%s: volumes and their mounts", id)
}

// checkSelects holds that there is something with the labels that an object looks
// for, and with its port.
func checkSelects(t *testing.T, r release, o object) {
	t.Helper()
	selector, _ := o.at("spec", "selector", "matchLabels").(map[string]any)
	if o["kind"] == "Service" {
		selector, _ = o.at("spec", "selector").(map[string]any)
	}
	if o["kind"] == "NetworkPolicy" {
		selector, _ = o.at("spec", "podSelector", "matchLabels").(map[string]any)
	}
	require.NotEmpty(t, selector, o.id())
	var found []string
	for id, other := range r.objects {
		labels := other.at("spec", "template", "metadata", "labels")
		if o["kind"] == "ServiceMonitor" {
			labels = nil
			if other["kind"] == "Service" {
				labels = other.at("metadata", "labels")
			}
		}
		m, _ := labels.(map[string]any)
		if len(m) > 0 && contains(m, selector) {
			found = append(found, id)
		}
	}
	require.Len(t, found, 1, "%s selects one", o.id())
}

func contains(labels, selector map[string]any) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// Nothing in the chart's own files or in what it renders holds a secret: they are
// named.
func TestSecretsAreOnlyNamed(t *testing.T) {
	for name, values := range matrix() {
		require.Empty(t, rendered(t, values).of("Secret"), name)
	}
	r := rendered(t, matrix()["a registry, AWS and more secrets"])
	worker, gateway := envOf(r, "Deployment/millrace-worker"), envOf(r, "Deployment/millrace-gateway")
	for variable, want := range map[string]string{
		"MLFLOW_TRACKING_USERNAME": "mlflow/user", "MLFLOW_TRACKING_PASSWORD": "mlflow/pass",
		"AWS_ACCESS_KEY_ID": "s3/AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY": "s3/AWS_SECRET_ACCESS_KEY",
		"MILLRACE_REMOTE_TOKEN": "triton/token", "CUSTOM_TOKEN": "custom/token",
	} {
		require.Equal(t, "secret "+want, worker[variable])
		require.NotContains(t, gateway, variable, "it does not read it")
	}
	require.Equal(t, "/etc/millrace/mlflow/ca.crt", worker["MLFLOW_TRACKING_SERVER_CERT_PATH"])
	require.Equal(t, "/etc/millrace/webhook/secret", worker["MILLRACE_WEBHOOK_SECRET_FILE"])
	require.Contains(t, r.objects, "Service/millrace-webhook")
	require.NotContains(t, rendered(t, "").objects, "Service/millrace-webhook")
}

// envOf is the environment of an object's container: values, or "secret NAME/KEY".
func envOf(r release, id string) map[string]string {
	env := make(map[string]string)
	list, _ := podOf(r.objects[id]).at("containers", 0, "env").([]any)
	for _, e := range list {
		o := object(e.(map[string]any))
		value := fmt.Sprint(o["value"])
		if key := o.at("valueFrom", "secretKeyRef"); key != nil {
			value = fmt.Sprintf("secret %v/%v", object(key.(map[string]any))["name"], object(key.(map[string]any))["key"])
		}
		env[fmt.Sprint(o["name"])] = value
	}
	return env
}
