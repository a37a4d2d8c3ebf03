package main

import (
	"flag"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/kafka"
)

func TestEveryMistakeIsListed(t *testing.T) {
	got := tool(t.Context(), []string{
		"MILLRACE_GRUOP=a", "MILLRACE_KAFKA_BROKER=x:1", "MILLRACE_SESSION_TIMEOUT=5", "MILLRACE_MAX_BATCH=many",
		"MILLRACE_MAX_IN_FLIGHT_RECORDS=-1", "MILLRACE_ORDERED=perhaps", "MILLRACE_LOG_FORMAT=xml", "MILLRACE_LOG_LEVEL=loud",
		"MILLRACE_FETCH_MAX_BYTES=99999999999", "MILLRACE_TOPIC_DLQ=a/b", "MILLRACE_KAFKA_BROKERS=a, b:1,c", "MILLRACE_ADMIN_ADDR=8001",
		"MLFLOW_TRACKING_URI=mlflow:5000", "MILLRACE_MAX_ROWS=0", "MILLRACE_MODEL=models:/a/1,models:/nothing", "MILLRACE_PREDICT_ATTEMPTS=0",
	}, "", "worker")
	require.Equal(t, exitUsage, got.code)
	require.Empty(t, got.out)
	require.Equal(t, `millrace: the configuration is wrong:
  MILLRACE_ADMIN_ADDR: "8001" is not host:port or :port
  MILLRACE_FETCH_MAX_BYTES: "99999999999" is not a whole number that 32 bits hold
  MILLRACE_GRUOP: there is no such variable; the nearest is MILLRACE_GROUP
  MILLRACE_KAFKA_BROKER: there is no such variable; the nearest is MILLRACE_KAFKA_BROKERS
  MILLRACE_KAFKA_BROKERS: "a" is not host:port
  MILLRACE_KAFKA_BROKERS: "c" is not host:port
  MILLRACE_LOG_FORMAT: "xml" is neither text nor json
  MILLRACE_LOG_LEVEL: slog: level string "loud": unknown name
  MILLRACE_MAX_BATCH: "many" is not a whole number
  MILLRACE_MAX_IN_FLIGHT_RECORDS: must be above zero
  MILLRACE_MAX_ROWS: 0 is not above 0
  MILLRACE_MODEL: name the model to serve, such as models:/name@alias, a folder, or bundled
  MILLRACE_MODEL: not a model reference: "models:/nothing": name a version or an alias: models:/name/3 or models:/name@alias
  MILLRACE_ORDERED: "perhaps" is not true or false
  MILLRACE_PREDICT_ATTEMPTS: 0 is not above 0
  MILLRACE_SESSION_TIMEOUT: "5" is not a duration such as 500ms, 30s or 2m
  MILLRACE_TOPIC_DLQ: "a/b" is not a legal topic name
  MLFLOW_TRACKING_URI: must be http(s)://host[:port][/prefix]
`, got.err)
}

func TestUsageMistakesExitWith2(t *testing.T) {
	for _, c := range []struct {
		args []string
		env  []string
		says string
	}{
		{args: []string{"wroker"}, says: "Did you mean this?\n\tworker"},
		{args: []string{"wroker"}, says: "millrace --help"},
		{args: []string{"worker", "--bogus", "x"}, says: "unknown flag: --bogus"},
		{args: []string{"gateway", "now"}, says: `takes no argument, but got "now"`},
		{args: []string{"worker"}, says: "MILLRACE_MODEL: name the model"},
		{args: []string{"worker", "--model", "models:/a/1"}, says: "MLFLOW_TRACKING_URI: it is not set, and models:/a/1 is in a registry"},
		{args: []string{"worker", "--model", "a=./x,a=./y"}, says: `MILLRACE_MODEL: the name "a" is given twice`},
		{args: []string{"worker", "--model", bundledRef}, says: "MILLRACE_MODEL: no folder to keep models in: set MILLRACE_MODEL_CACHE_DIR or HOME"},
		{args: []string{"worker", "--model", "models:/a/2"}, env: []string{"MLFLOW_TRACKING_URI=http://x"}, says: "MILLRACE_MODEL_CACHE_DIR: no folder to keep models in"},
		{args: []string{"worker", "--model", "models:/a/3"}, env: []string{"MLFLOW_TRACKING_URI=http://x", "MILLRACE_MODEL_CACHE_DIR=/dev/null/x"}, says: "MILLRACE_MODEL_CACHE_DIR: model cache: mkdir /dev/null"},
		{args: []string{"gateway", "--brokers", "here"}, says: `MILLRACE_KAFKA_BROKERS: "here" is not host:port`},
		{args: []string{"up", "--kafka-port", "99999"}, says: "MILLRACE_UP_KAFKA_PORT: 99999 is no port"},
		{args: []string{"up"}, env: []string{"MILLRACE_KAFKA_TLS=true"}, says: "name it with --brokers"},
		{args: []string{"gateway"}, env: []string{"MILLRACE_KAFKA_TLS=true", "MILLRACE_KAFKA_TLS_CA=/nowhere"}, says: "MILLRACE_KAFKA_TLS_CA: open /nowhere"},
	} {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			got := tool(t.Context(), append(c.env, "MILLRACE_ADMIN_ADDR=127.0.0.1:0"), "", c.args...)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, c.says)
		})
	}
}

func TestVariablesThatAreNobodysMistake(t *testing.T) {
	p := &program{env: map[string]string{
		// What Kubernetes sets for services called millrace and millrace-gateway.
		"MILLRACE_SERVICE_HOST": "10.0.0.1", "MILLRACE_SERVICE_PORT": "80", "MILLRACE_SERVICE_PORT_HTTP": "80", "MILLRACE_PORT": "tcp://10.0.0.1:80",
		"MILLRACE_PORT_80_TCP": "tcp://10.0.0.1:80", "MILLRACE_GATEWAY_PORT_80_TCP_ADDR": "10.0.0.1", "MILLRACE_GATEWAY_SERVICE_HOST": "10.0.0.2",
		// Of another command, in an environment that all share.
		"MILLRACE_GATEWAY_MAX_WAITING": "7",
		"OTHER_GRUOP":                  "x",
	}}
	require.NoError(t, p.parse(&logConfig{}))
	p.env["MILLRACE_PORTS"] = "x"
	require.ErrorContains(t, p.parse(&logConfig{}), "MILLRACE_PORTS: there is no such variable")
}

func TestFlagsOverrideTheEnvironment(t *testing.T) {
	got := tool(t.Context(), []string{"MILLRACE_KAFKA_BROKERS=right:1"}, "", "gateway", "--brokers", "wrong")
	require.Contains(t, got.err, `"wrong" is not host:port`)
}

func TestSecretsAreMasked(t *testing.T) {
	cfg := workerConfig{}
	p := &program{env: map[string]string{
		"MILLRACE_MODEL": "a=models:/fraud@champion,bundled", "MILLRACE_KAFKA_SASL_MECHANISM": "PLAIN", "MILLRACE_KAFKA_SASL_USERNAME": "me",
		"MILLRACE_KAFKA_SASL_PASSWORD": "hunter2", "MLFLOW_TRACKING_URI": "https://user:hunter2@registry:5000/x",
		"MLFLOW_TRACKING_TOKEN": "hunter2", "MILLRACE_KAFKA_BROKERS": "a:1, b:2",
	}}
	require.NoError(t, p.parse(&cfg))
	shown := make(map[string]string)
	for _, a := range effective(&cfg, false) {
		require.NotContains(t, shown, a.Key, "each once")
		shown[a.Key] = a.Value.String()
		require.NotContains(t, a.Value.String(), "hunter2", a.Key)
	}
	require.Equal(t, masked, shown["MILLRACE_KAFKA_SASL_PASSWORD"])
	require.Equal(t, masked, shown["MLFLOW_TRACKING_TOKEN"])
	require.Equal(t, "https://***@registry:5000/x", shown["MLFLOW_TRACKING_URI"])
	require.Equal(t, "a:1,b:2", shown["MILLRACE_KAFKA_BROKERS"])
	require.Equal(t, "a=models:/fraud@champion,bundled", shown["MILLRACE_MODEL"])
	require.Equal(t, "45s", shown["MILLRACE_SESSION_TIMEOUT"], "defaults are part of what holds")
	require.NotContains(t, shown, "MILLRACE_KAFKA_TLS_CA", "what is empty says nothing")
	var names []string
	for _, a := range effective(&cfg, true) {
		names = append(names, a.Key)
	}
	require.Len(t, names, 7)
}

func TestEveryVariableIsExplained(t *testing.T) {
	names := make(map[string][2]string)
	for _, c := range configured() {
		for _, f := range fields(c.config) {
			help := f.Tag.Get("help")
			require.NotEmpty(t, help, f.name)
			require.True(t, strings.HasSuffix(help, "."), "%s: %s", f.name, help)
			if f.Type.Kind() == reflect.String && (strings.HasSuffix(f.name, "PASSWORD") || strings.HasSuffix(f.name, "SECRET") || strings.HasSuffix(f.name, "TOKEN")) {
				require.Equal(t, "true", f.Tag.Get("secret"), f.name)
			}
			// A variable that two packages read means one thing.
			same := [2]string{f.Tag.Get("envDefault"), f.Type.String()}
			if had, ok := names[f.name]; ok {
				require.Equal(t, had, same, f.name)
			}
			names[f.name] = same
		}
	}
	for _, v := range allVariables() {
		ours := regexp.MustCompile(`^(MILLRACE_|MLFLOW_|OTEL_|AZURE_STORAGE_|STORAGE_EMULATOR_HOST$)`) // or the ecosystem's own
		require.Regexp(t, ours, v.name)
	}
}

func TestHelpListsTheVariablesOfTheCommand(t *testing.T) {
	help := tool(t.Context(), nil, "", "gateway", "--help")
	require.Zero(t, help.code)
	require.Contains(t, help.out, "MILLRACE_GATEWAY_ADDR=:8000\n      Host and port to listen on.")
	require.NotContains(t, help.out, "MILLRACE_MODEL\n")
	require.Contains(t, tool(t.Context(), nil, "", "worker", "--help").out, "MILLRACE_MODEL\n")
	require.Contains(t, tool(t.Context(), nil, "", "--help").out, "millrace up")
}

// A default that is wrong would be told as the user's mistake.
func TestDefaultsAreRight(t *testing.T) {
	require.NoError(t, (&program{env: map[string]string{"MILLRACE_MODEL": bundledRef}}).parse(&upConfig{}))
	require.NoError(t, (&program{}).parse(&gatewayConfig{}))
	require.Contains(t, kafka.Topics{}.Validate().Error(), "TOPIC_PARTITIONS", "a Config without its defaults is not")
}

var update = flag.Bool("update", false, "write the files that tests compare with anew")

// The README's table is made from the code: go test ./cmd/millrace -run README -update.
func TestREADMEHasEveryVariable(t *testing.T) {
	const path, begin, end = "../../README.md", "<!-- variables: written by `make docs`, held by a test -->\n", "<!-- end of variables -->"
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	head, rest, found := strings.Cut(string(text), begin)
	require.True(t, found, "no line %q", begin)
	table, tail, found := strings.Cut(rest, end)
	require.True(t, found, "no line %q", end)
	want := tool(t.Context(), nil, "", "config").out
	require.Greater(t, strings.Count(want, "\n"), 70)
	if *update {
		require.NoError(t, os.WriteFile(path, slices.Concat([]byte(head), []byte(begin), []byte(want), []byte(end), []byte(tail)), 0o600))
		return
	}
	require.Equal(t, want, table, "make it again: go test ./cmd/millrace -run README -update")
}
