package test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// parts are the objects that run the binary, and the command of each.
func parts(r release) map[string]string {
	list := make(map[string]string)
	for id, o := range r.objects {
		if pod := podOf(o); pod != nil && !strings.HasSuffix(id, "-locust") {
			list[id] = fmt.Sprint(pod.at("containers", 0, "args", 0))
		}
	}
	return list
}

// The code takes every environment that the chart makes: each is given to the
// binary, with one mistake, which then is the only one that it tells.
func TestTheCodeTakesTheSettings(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "millrace")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, "./cmd/millrace")
	build.Dir, build.Env = "../..", append(build.Environ(), "CGO_ENABLED=1", "GOFLAGS=")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	for name, values := range matrix() {
		t.Run(name, func(t *testing.T) {
			r := rendered(t, values)
			require.NotEmpty(t, parts(r))
			for id := range parts(r) {
				cmd := exec.CommandContext(t.Context(), bin)
				args, _ := podOf(r.objects[id]).at("containers", 0, "args").([]any)
				for _, a := range args {
					cmd.Args = append(cmd.Args, fmt.Sprint(a))
				}
				cmd.Env = []string{"MILLRACE_MISTAKE=1"}
				for variable, value := range envOf(r, id) {
					cmd.Env = append(cmd.Env, variable+"="+value)
				}
				var said bytes.Buffer
				cmd.Stderr = &said
				require.Error(t, cmd.Run())
				require.Equal(t, 2, cmd.ProcessState.ExitCode(), id)
				lines := strings.Split(strings.TrimSpace(said.String()), "\n")
				require.Len(t, lines, 2, "%s: %s", id, said.String())
				require.Contains(t, lines[1], "MILLRACE_MISTAKE: there is no such variable", id)
			}
		})
	}
}

// A variable that the command does not read is a setting that does nothing.
func TestEachPartGetsWhatItReads(t *testing.T) {
	text, err := os.ReadFile(chart + "/files/variables.json") // written from the code
	require.NoError(t, err)
	var known map[string]struct{ Commands []string }
	require.NoError(t, json.Unmarshal(text, &known))
	others := []string{"HOME", "XDG_CACHE_HOME", "GOGC", "CUSTOM_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
	for name, values := range matrix() {
		r := rendered(t, values)
		for id, command := range parts(r) {
			for variable := range envOf(r, id) {
				if !slices.Contains(others, variable) {
					require.Contains(t, known, variable, "%s: %s", name, id)
					require.Contains(t, known[variable].Commands, command, "%s: %s of %s", name, variable, id)
				}
			}
		}
	}
}

func TestSettingsComeAsTheyAreWritten(t *testing.T) {
	r := rendered(t, `
config:
  MILLRACE_MAX_REQUEST_BYTES: 10485760
  MILLRACE_SHADOW_TOLERANCE: 0.00001
  MILLRACE_MODEL_ALLOW_BREAKING: false
  MILLRACE_KAFKA_BROKERS: ["a:1", "b:2"]
  MILLRACE_LOG_LEVEL: WARN
worker: {config: {MILLRACE_LOG_LEVEL: DEBUG, MILLRACE_GATEWAY_MAX_WAITING: 7, MILLRACE_SHADOW: "models:/m@shadow"}}
gateway: {config: {MILLRACE_GATEWAY_MAX_WAITING: 600}}`)
	worker, gateway := envOf(r, "Deployment/millrace-worker"), envOf(r, "Deployment/millrace-gateway")
	require.Equal(t, []string{"10485760", "1e-05", "false", "a:1,b:2", "DEBUG"}, []string{
		worker["MILLRACE_MAX_REQUEST_BYTES"], worker["MILLRACE_SHADOW_TOLERANCE"], worker["MILLRACE_MODEL_ALLOW_BREAKING"],
		worker["MILLRACE_KAFKA_BROKERS"], worker["MILLRACE_LOG_LEVEL"],
	})
	require.Equal(t, []string{"600", "WARN"}, []string{gateway["MILLRACE_GATEWAY_MAX_WAITING"], gateway["MILLRACE_LOG_LEVEL"]})
	require.NotContains(t, worker, "MILLRACE_GATEWAY_MAX_WAITING")
	require.Equal(t, "models:/m@shadow", envOf(r, "Job/millrace-topics")["MILLRACE_SHADOW"], "the topics that are needed depend on the workers")
}

// A pod that is killed before its drain is over leaves work to be done again.
func TestPodsMayEndInTheirTime(t *testing.T) {
	for _, c := range []struct {
		values          string
		worker, gateway int
	}{
		{"", 20 + 10 + 5 + 25, 5 + 20 + 15},
		{"config: {MILLRACE_DRAIN_TIMEOUT: 1m30s}", 90 + 10 + 5 + 25, 40},
		{"worker: {config: {MILLRACE_DRAIN_TIMEOUT: 500ms, MILLRACE_PRODUCER_CLOSE_TIMEOUT: 1m, MILLRACE_SHADOW_DRAIN_TIMEOUT: 0s}}", 1 + 60 + 25, 40},
		{"worker: {terminationMarginSeconds: 60}\ngateway: {preStopSeconds: 0, config: {MILLRACE_GATEWAY_DRAIN_TIMEOUT: 1h}}", 95, 3615},
	} {
		r := rendered(t, c.values)
		seconds := func(id string) int {
			return int(podOf(r.objects[id])["terminationGracePeriodSeconds"].(float64))
		}
		require.Equal(t, c.worker, seconds("Deployment/millrace-worker"), c.values)
		require.Equal(t, c.gateway, seconds("Deployment/millrace-gateway"), c.values)
	}
	r := rendered(t, "")
	require.InDelta(t, 5, podOf(r.objects["Deployment/millrace-gateway"]).at("containers", 0, "lifecycle", "preStop", "sleep", "seconds"), 0)
}

// What cannot be kept in a cache is removed from it before its volume is full.
func TestTheCacheFitsItsVolume(t *testing.T) {
	for size, quota := range map[string]string{"512Mi": "402653184", "4Gi": "3221225472", "1Ti": "824633720832"} {
		r := rendered(t, "worker: {modelCache: {size: "+size+"}}")
		require.Equal(t, quota, envOf(r, "Deployment/millrace-worker")["MILLRACE_MODEL_CACHE_QUOTA"])
		require.Equal(t, size, podOf(r.objects["Deployment/millrace-worker"]).at("volumes", 0, "emptyDir", "sizeLimit"))
	}
	r := rendered(t, "config: {MILLRACE_MODEL_CACHE_QUOTA: 1000000000}")
	require.Equal(t, "1000000000", envOf(r, "Deployment/millrace-worker")["MILLRACE_MODEL_CACHE_QUOTA"])
}

// Where the code listens is where it is asked.
func TestPortsAreTheCodes(t *testing.T) {
	r := rendered(t, `
config: {MILLRACE_ADMIN_ADDR: "0.0.0.0:9001", MILLRACE_DELIVERY: exactly-once}
gateway: {config: {MILLRACE_GATEWAY_ADDR: ":9000"}}`)
	require.InDelta(t, 9001, podOf(r.objects["StatefulSet/millrace-worker"]).at("containers", 0, "ports", 0, "containerPort"), 0)
	require.Equal(t, "9001", r.objects["StatefulSet/millrace-worker"].at("spec", "template", "metadata", "annotations").(map[string]any)["prometheus.io/port"])
	require.InDelta(t, 9001, r.objects["Service/millrace-worker"].at("spec", "ports", 0, "port"), 0)
	require.InDelta(t, 9000, r.objects["Service/millrace-gateway"].at("spec", "ports", 0, "port"), 0)
	require.InDelta(t, 8081, r.objects["Service/millrace-gateway"].at("spec", "ports", 1, "port"), 0)
	require.Len(t, rendered(t, "gateway: {config: {MILLRACE_GATEWAY_GRPC_ADDR: none}}").objects["Service/millrace-gateway"].at("spec", "ports"), 1)
}

func TestTheWallsLetThroughWhatIsNeeded(t *testing.T) {
	r := rendered(t, `
config: {MLFLOW_TRACKING_URI: "https://mlflow.example/base", MILLRACE_KAFKA_BROKERS: ["a:9093", "b:9094"]}
networkPolicy: {egressEnabled: true, egress: [{ports: [{port: 4317}]}]}`)
	ports := func(id string) string {
		text, err := json.Marshal(r.objects[id].at("spec", "egress"))
		require.NoError(t, err)
		return string(text)
	}
	require.JSONEq(t, `[{"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]},
		{"ports": [{"port": 9093}, {"port": 9094}]}, {"ports": [{"port": 443}]}, {"ports": [{"port": 4317}]}]`, ports("NetworkPolicy/millrace-worker"))
	require.NotContains(t, ports("NetworkPolicy/millrace-gateway"), "443")
}
